"""JSON with images in it: strings of megabytes stay in the body, instead of being copied.

Base64 contains no escapes, so the end of its string is the next quote. Measured for an answer with four images of 5 MiB
(28 MB of JSON): 3 ms and no memory; `pydantic_core.from_json` takes 8 ms and 28 MB, `json` 70 ms and 56 MB.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Self

from pydantic_core import from_json

LONG = 2**16  # bytes; from this length on, a string stays in the body
HEAD = 2048  # characters of such a string that are copied, enough to see what it is
MAX_SEQUENCE = 1000  # values of one body
MAX_QUOTES = 40_000  # an answer with more of them is not an answer with images, and is parsed as it is


class Span(str):
    """A long string of a JSON text: as a `str` its first characters, and all of it in `body[start:end]`."""

    __slots__ = ("body", "end", "start")
    body: bytes
    start: int
    end: int

    def __new__(cls, body: bytes, start: int, end: int) -> Self:
        """Return the string between two offsets of a body."""
        span = super().__new__(cls, body[start : min(end, start + HEAD)].decode("ascii"))
        span.body, span.start, span.end = body, start, end
        return span


def read_whole(text: str) -> str:
    """Return all of a string, a copy where it is a `Span`."""
    return text.body[text.start : text.end].decode("ascii", "replace") if isinstance(text, Span) else text


def measure(text: str) -> int:
    """Return how many characters a string has, all of a `Span`."""
    return text.end - text.start if isinstance(text, Span) else len(text)


def cut(text: str, start: int, end: int) -> str:
    """Return a part of a string, without a copy where it is a `Span`."""
    return Span(text.body, text.start + start, text.start + end) if isinstance(text, Span) else text[start:end]


def loads(body: bytes) -> Any:
    """Return a JSON value whose long ASCII strings are `Span`s.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    reduced, spans = _replace_long_strings(body)
    return _restore_spans(_loads(reduced), spans)


def loads_sequence(body: bytes) -> list[Any]:
    """Return the JSON values that follow each other at the beginning of a body, up to what is not JSON.

    Raises:
        ValueError: There is none, or it is not UTF-8.
        RecursionError: One is nested too deeply.
    """
    reduced, spans = _replace_long_strings(body)
    text, decoder, offset = reduced.decode(), json.JSONDecoder(), 0
    values: list[Any] = []
    while len(values) < MAX_SEQUENCE and (start := _NOT_BLANK.search(text, offset)) is not None:
        try:
            value, offset = decoder.raw_decode(text, start.start())
        except ValueError:
            if not values:
                raise
            break
        values.append(_restore_spans(value, spans))
    return values


_NOT_BLANK = re.compile(r"[^\s,;]")


def _replace_long_strings(body: bytes) -> tuple[bytes, dict[str, Span]]:
    spans = find_long_strings(body)
    if not spans:
        return body, {}
    mark = os.urandom(8).hex()  # random, so that no answer can contain it on purpose
    pieces, offset = [], 0
    for number, span in enumerate(spans):
        pieces += [body[offset : span.start], f"{mark}{number}".encode()]
        offset = span.end
    pieces.append(body[offset:])
    return b"".join(pieces), {f"{mark}{number}": span for number, span in enumerate(spans)}


def _loads(body: bytes) -> Any:
    # For a short answer it takes half the time of `json`; for a long one without images as much time, and less memory
    # (54 MB instead of 64 MB for 11 MB of JSON). It refuses lone surrogates and deep nesting, which `json` reads.
    try:
        return from_json(body)
    except ValueError:
        return json.loads(body)


def find_long_strings(body: bytes) -> list[Span]:
    """Return the strings of a JSON text that need not be copied: long, ASCII and without escapes."""
    if len(body) < LONG:
        return []
    spans: list[Span] = []
    start, quote = -1, body.find(b'"')
    for _ in range(MAX_QUOTES):
        if quote < 0:
            return spans
        if start < 0:
            start = quote + 1
        elif not _is_escaped(body, quote):
            head = body[start : start + HEAD]
            if quote - start >= LONG and head.isascii() and body.find(b"\\", start, quote) < 0:
                spans.append(Span(body, start, quote))
            start = -1
        quote = body.find(b'"', quote + 1)
    return []


def _is_escaped(body: bytes, quote: int) -> bool:
    start = quote
    while body[start - 1 : start] == b"\\":
        start -= 1
    return (quote - start) % 2 == 1


def _restore_spans(value: Any, spans: dict[str, Span]) -> Any:
    if not spans:
        return value
    if isinstance(value, str):
        return spans.get(value, value)
    if isinstance(value, dict):
        return {_restore_spans(name, spans): _restore_spans(inner, spans) for name, inner in value.items()}
    return [_restore_spans(inner, spans) for inner in value] if isinstance(value, list) else value


class Whole(str):
    """Text without characters that JSON escapes, such as a data URI: it is written as it is."""

    __slots__ = ()


def dumps(value: Any) -> bytes:
    """Return a value as JSON; its `Whole` strings are copied only once."""
    mark = os.urandom(8).hex()
    wholes: list[Whole] = []
    text = json.dumps(_replace_wholes(value, mark, wholes))
    pieces = []
    for number, whole in enumerate(wholes):
        before, _, text = text.partition(f"{mark}{number}.")
        pieces += [before.encode(), whole.encode("ascii")]
    return b"".join([*pieces, text.encode()])


def _replace_wholes(value: Any, mark: str, wholes: list[Whole]) -> Any:
    if isinstance(value, Whole):
        wholes.append(value)
        return f"{mark}{len(wholes) - 1}."
    if isinstance(value, dict):
        return {name: _replace_wholes(inner, mark, wholes) for name, inner in value.items()}
    return [_replace_wholes(inner, mark, wholes) for inner in value] if isinstance(value, list | tuple) else value
