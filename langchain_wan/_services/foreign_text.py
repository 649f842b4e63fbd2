"""Text from a service, made safe to show and to store."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from langchain_wan._text.control_characters import remove_control

MAX_READ = 2000  # characters of a foreign text that are cleaned at all
MAX_SHOWN = 200

# A value that is stored: what a service counts has some dozen numbers.
MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 10
MAX_VALUES = 1000
MAX_CHARACTERS = 10_000

T = TypeVar("T")


def clean_text(text: str) -> str:
    """Return a foreign text as one line for an error: no HTML, URL, address or key, and at most 200 characters."""
    text = remove_control(text[:MAX_READ])
    if re.search(r"<\s*(!doctype|html|head|body|\?xml)", text, re.IGNORECASE):
        return ""
    for pattern, replacement in _replacements():
        text = pattern.sub(replacement, text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def quote_text(text: str) -> str:
    """Return a foreign text cleaned and quoted, as a sentence that can't close its quotation marks; or ""."""
    cleaned = clean_text(text).translate(_OTHER_QUOTES)
    return f'"{cleaned}"{"" if cleaned.endswith(_SENTENCE_ENDS) else "."}' if cleaned else ""


_OTHER_QUOTES = dict.fromkeys(map(ord, '"\u201c\u201d\u201e\u00ab\u00bb'), "'")
_SENTENCE_ENDS = (".", "!", "?", "…", "\u3002")


@lru_cache(maxsize=1)  # compiled when an error is read, not when the package is imported
def _replacements() -> tuple[tuple[re.Pattern[str], str], ...]:
    return (
        (re.compile(r"<[a-zA-Z/!?][^<>]{0,500}>?"), " "),  # HTML tags; not the "<400>" before Alibaba's codes
        (re.compile(r"[a-zA-Z][\w+.-]{0,20}://\S+"), "[url]"),
        (re.compile(r"(?<!\S)\S[^\s?]*\?[^\s=]*=\S*"), "[url]"),
        (re.compile(r"\bdata:\S+", re.IGNORECASE), "[data]"),
        (re.compile(r"\b(?:bearer\s+\S{6,}|basic\s+[a-z0-9+/=]{12,})", re.IGNORECASE), "[key]"),
        (re.compile(r"\bsk[-_][\w.-]{6,}", re.IGNORECASE), "[key]"),
        (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "[address]"),
        (
            re.compile(
                r"\[?(?<![\w:])(?:(?:[0-9a-fA-F]{1,4}:){3,}|(?:[0-9a-fA-F]{1,4}:)*::?)(?=[0-9a-fA-F:])[0-9a-fA-F.:]*\]?"
            ),
            "[address]",
        ),
    )


def make_storable(value: Any) -> Any:
    """Return a value of an answer that every database, checkpoint, message and terminal can contain.

    Integers have 64 bits, as in MessagePack, which checkpointers write, and in SQL; floats are finite, as in JSON. It
    is not too deep, not too large, and its texts hold no control characters except line feeds and tabs. What is too
    much is left out.
    """
    return _Clamp().clamp(value, MAX_DEPTH)


class _Clamp:
    """What one value of an answer may still hold."""

    def __init__(self) -> None:
        self._values, self._characters = MAX_VALUES, MAX_CHARACTERS

    def clamp(self, value: Any, depth: int) -> Any:
        self._values -= 1
        if isinstance(value, str):
            text = remove_control(value[: self._characters])
            self._characters -= len(text)
            return text
        if isinstance(value, int):
            return max(-MAX_INTEGER - 1, min(value, MAX_INTEGER))
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {
                self.clamp(name, 0): self.clamp(inner, depth - 1) for name, inner in self._take(value.items(), depth)
            }
        if isinstance(value, list):
            return [self.clamp(inner, depth - 1) for inner in self._take(value, depth)]
        return None

    def _take(self, values: Iterable[T], depth: int) -> Iterator[T]:
        for value in values if depth > 0 else ():
            if self._values <= 0 or self._characters <= 0:
                return
            yield value
