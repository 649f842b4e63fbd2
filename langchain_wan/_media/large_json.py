"""JSON with pictures in it: strings of megabytes stay where they are, instead of being copied three times.

A picture in base64 holds no escapes, so that the ends of its string are found by looking for quotes. `json` itself
takes 40 ms for 20 MB, during which no other thread runs, and twice their memory.
"""

from __future__ import annotations

import json
import os
from typing import Any, Self

LONG = 2**16  # bytes from which a string is left where it is
HEAD = 2048  # characters of it that are shown as text
MOST_STRINGS = 20_000  # an answer with more of them holds no pictures, and is left to `json`


class Span(str):
    """A long string of a JSON text: its first characters as text, the whole of it as `body[start:end]`."""

    __slots__ = ("body", "end", "start")
    body: bytes
    start: int
    end: int

    def __new__(cls, body: bytes, start: int, end: int) -> Self:
        """Return the string between two places of a text."""
        made = super().__new__(cls, body[start : min(end, start + HEAD)].decode("ascii"))
        made.body, made.start, made.end = body, start, end
        return made


def loads(body: bytes) -> Any:
    """Return a JSON value whose long ASCII strings are `Span`s.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    spans = _long_strings(body)
    if not spans:
        return json.loads(body)
    mark = os.urandom(8).hex()  # what an answer can't know, it can't imitate
    pieces, place = [], 0
    for number, span in enumerate(spans):
        pieces += [body[place : span.start], f"{mark}{number}".encode()]
        place = span.end
    pieces.append(body[place:])
    return _with_spans(json.loads(b"".join(pieces)), {f"{mark}{number}": span for number, span in enumerate(spans)})


class Whole(str):
    """Text that needs no escapes, such as a data URI, and is to be written as it is."""

    __slots__ = ()


def dumps(value: Any) -> bytes:
    """Return a value as JSON, its `Whole` strings copied once."""
    mark = os.urandom(8).hex()
    wholes: list[Whole] = []
    text = json.dumps(_marked(value, mark, wholes))
    pieces = []
    for number, whole in enumerate(wholes):
        before, _, text = text.partition(f"{mark}{number}.")
        pieces += [before.encode(), whole.encode("ascii")]
    return b"".join([*pieces, text.encode()])


def _long_strings(body: bytes) -> list[Span]:
    if len(body) < LONG:
        return []
    found: list[Span] = []
    start = body.find(b'"')
    for _ in range(MOST_STRINGS):
        if start < 0:
            return found
        end = _end_of(body, start + 1)
        if end - start > LONG and body.find(b"\\", start + 1, end) < 0 and body[start + 1 : start + HEAD].isascii():
            found.append(Span(body, start + 1, end))
        start = -1 if end < 0 else body.find(b'"', end + 1)
    return []


def _end_of(body: bytes, start: int) -> int:
    """Return the place of the quote that ends a string, or -1."""
    end = body.find(b'"', start)
    while end >= 0:
        escapes = 0
        while body[end - 1 - escapes : end - escapes] == b"\\":
            escapes += 1
        if escapes % 2 == 0:
            return end
        end = body.find(b'"', end + 1)
    return -1


def _with_spans(value: Any, spans: dict[str, Span]) -> Any:
    if isinstance(value, str):
        return spans.get(value, value)
    if isinstance(value, dict):
        return {_with_spans(name, spans): _with_spans(inner, spans) for name, inner in value.items()}
    return [_with_spans(inner, spans) for inner in value] if isinstance(value, list) else value


def _marked(value: Any, mark: str, wholes: list[Whole]) -> Any:
    if isinstance(value, Whole):
        wholes.append(value)
        return f"{mark}{len(wholes) - 1}."
    if isinstance(value, dict):
        return {name: _marked(inner, mark, wholes) for name, inner in value.items()}
    return [_marked(inner, mark, wholes) for inner in value] if isinstance(value, list | tuple) else value
