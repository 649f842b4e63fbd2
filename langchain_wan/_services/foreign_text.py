"""Text from a service, made safe to show and to store."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from langchain_wan._text.control_characters import remove_control

MAX_READ = 2000  # characters of a foreign text that are cleaned at all
MAX_SHOWN = 200


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
        (re.compile(r"\S+\?\S*=\S*"), "[url]"),
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


def make_storable(value: Any, depth: int = 10) -> Any:
    """Return a value of an answer that every database, message and terminal can contain.

    It is not too deep, and its texts hold no control characters except line feeds and tabs.
    """
    if isinstance(value, str):
        return remove_control(value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {make_storable(name): make_storable(inner, depth - 1) for name, inner in value.items()}
    return [make_storable(inner, depth - 1) for inner in value]
