"""What values a body holds, however it is framed: JSON, several values, an event stream nobody asked for, text.

Each byte is looked at a constant number of times, and each long string is parsed once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from langchain_wan._media import large_json
from langchain_wan._net.decoding import ANSWER_CAP, to_plain

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_PREFIX = 1000  # bytes before a JSON value, such as )]}' against script inclusion
MAX_WRONG_LINES = 1000  # of one event
LONGEST_TEXT = 2**26  # bytes of a body that is plain text

# https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream (2026-11)
_EVENT_LINE = re.compile(rb"\s*(?:(?:data(?!:\w+/)|event|id|retry)[ \t]*:|:)")
# JSON that is cut off, or a page of a gateway, which shows its logo: no text in which an image may be named.
_NOT_TEXT = re.compile(rb"\s*(?:\{|\[\s*[\[{\"]|<(?!https?:|data:|img\b))", re.IGNORECASE)


def read_values(body: bytes) -> list[Any]:
    """Return the JSON values of a body; of an event stream, its events merged; of plain text, the text."""
    body = to_plain(body, ANSWER_CAP)
    try:
        return [large_json.loads(body)]
    except (ValueError, RecursionError):  # also integers of thousands of digits
        pass
    body = body.removeprefix(BYTE_ORDER_MARK)
    if _EVENT_LINE.match(body):
        return merge_events(_read_events(body))
    return _read_sequence(body) or _read_text(body)


def _read_sequence(body: bytes) -> list[Any]:
    """Return the JSON values that follow each other, up to what is not JSON."""
    start = re.search(rb"[{\[]", body[:LONGEST_PREFIX])
    if start is None:
        return []
    try:
        return large_json.loads_sequence(body[start.start() :])
    except (ValueError, RecursionError):
        return []


def _read_text(body: bytes) -> list[Any]:
    if not body.strip() or len(body) > LONGEST_TEXT or _NOT_TEXT.match(body):
        return []
    try:
        return [body.decode()]
    except UnicodeDecodeError:
        return []


def _read_events(body: bytes) -> Iterator[Any]:
    lines: list[bytes] = []
    for start, end in _find_lines(body):
        if body.startswith(b"data:", start):
            lines.append(body[start + 5 : end])
        elif start == end and lines:
            yield from _read_event(lines)
            lines = []
    if lines:
        yield from _read_event(lines)


def _find_lines(body: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each line begins and ends, without the blanks around it."""
    line_end = b"\n" if b"\n" in body else b"\r"
    offset = 0
    while offset <= len(body):
        after = body.find(line_end, offset)
        start, end = offset, len(body) if after < 0 else after
        offset = end + 1
        while start < end and body[start] in b" \t\r":
            start += 1
        while start < end and body[end - 1] in b" \t\r":
            end -= 1
        yield start, end


def _read_event(lines: list[bytes]) -> Iterator[Any]:
    if len(lines) > 1:  # one value in several lines, as the standard says; or events without a blank line between them
        try:
            yield large_json.loads(b"\n".join(lines))
        except (ValueError, RecursionError):
            pass
        else:
            return
    wrong = 0
    for line in lines:
        try:
            yield large_json.loads(line)
        except (ValueError, RecursionError):
            yield from () if line.strip() == b"[DONE]" else _read_text(line)
            wrong += 1
        if wrong > MAX_WRONG_LINES:
            return


def merge_events(events: Iterator[Any]) -> list[Any]:
    """Return what a stream says as a whole: the deltas of each choice joined to one message, and the other events."""
    whole: dict[str, Any] = {}
    choices: dict[str, _Choice] = {}
    others: list[Any] = []
    for event in events:
        if not isinstance(event, dict):
            others.append(event)
            continue
        if "partial" in str(event.get("type", "")):  # an image that is not finished
            continue
        deltas = [choice for choice in _list(event.get("choices")) if isinstance(choice, dict) and "delta" in choice]
        if not deltas:
            others.append(event)
            continue
        whole |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        for choice in deltas:
            choices.setdefault(json.dumps(choice.get("index"), default=str), _Choice()).add(choice)
    if choices:
        others.insert(0, {**whole, "choices": [choice.build() for choice in choices.values()]})
    return others


class _Choice:
    """The deltas of one choice."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._parts: dict[str, list[Any]] = {}
        self._messages: list[Any] = []

    def add(self, choice: dict[str, Any]) -> None:
        self._messages += [choice["message"]] if choice.get("message") else []
        delta = choice["delta"] if isinstance(choice["delta"], dict) else {"content": choice["delta"]}
        for name, value in delta.items():
            if isinstance(value, str):
                self._texts.setdefault(name, []).append(large_json.read_whole(value))
            elif name == "tool_calls":
                self._add_calls(_list(value))
            elif value is not None:
                self._parts.setdefault(name, []).extend(value if isinstance(value, list) else [value])

    def _add_calls(self, calls: list[Any]) -> None:
        for call in calls:
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str):
                name = f"arguments {json.dumps(call.get('index'), default=str)}"
                self._texts.setdefault(name, []).append(large_json.read_whole(arguments))

    def build(self) -> dict[str, Any]:
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        texts |= {"role": self._texts["role"][0]} if "role" in self._texts else {}
        message: dict[str, Any] = {**texts, **self._parts}
        if "content" in texts and "content" in self._parts:
            message["content"] = [texts["content"], *self._parts["content"]]
        arguments = [text for name, text in texts.items() if name.startswith("arguments ")]
        return {
            "message": {**message, "tool_calls": [{"function": {"arguments": text}} for text in arguments]},
            "messages": self._messages,
        }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
