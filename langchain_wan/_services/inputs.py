"""Whether an image of an answer is an input image of its request, echoed.

An image is known by its URL, or by its length and both ends: those of a PNG or JPEG contain checksums or compressed
data, and nothing of it must be copied or kept.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from langchain_wan._media import large_json

END, TAIL = 48, 24  # bytes, multiples of three


@dataclass(frozen=True)
class Inputs:
    """The input images of a request, by their marks, and its prompt, which may contain URLs."""

    marks: Collection[str] = ()
    prompt: str = ""

    def contain(self, text: str) -> bool:
        """Say whether a URL or base64 text is an input image, or stands in the prompt."""
        if not self.marks and not self.prompt:
            return False
        if is_url(text):
            return text in self.prompt or mark_url(text) in self.marks
        return bool(self.marks) and mark_base64(text) in self.marks


def is_url(text: str) -> bool:
    """Say whether text begins as a web address does."""
    return text[:8].lower().startswith(("http://", "https://"))


def mark_text(text: str) -> str:
    """Return the mark of an image that an answer holds as a URL or as base64."""
    return mark_url(text) if is_url(text) else mark_base64(text) or mark_url(text[:END])


def mark_url(url: str) -> str:
    """Return the mark of an image at a URL."""
    return hashlib.sha256(f"url {url}".encode(errors="replace")).hexdigest()[:32]


def mark_bytes(data: bytes) -> str:
    """Return the mark of an image that is sent as data."""
    return _mark(len(data), data[:END], data[-TAIL:])


def mark_base64(text: str) -> str:
    """Return the mark of an image in base64, bare or in a data URI: the same as that of its bytes."""
    start = text.find(",", 0, 300) + 1 if text[:5].lower() == "data:" else 0
    length = large_json.measure(text)
    head = large_json.read_whole(large_json.cut(text, start, min(length, start + END // 3 * 4)))
    ending = large_json.read_whole(large_json.cut(text, max(start, length - 2 * END), length))
    tail = ending.rstrip("= \r\n")
    digits = length - start - (len(ending) - len(tail))
    try:
        first = binascii.a2b_base64(head + "==")
        last = binascii.a2b_base64(tail[-(TAIL // 3 * 4 + digits % 4) :] + "==")  # from the start of a group on
    except ValueError:
        return ""
    return _mark(digits * 3 // 4, first, last)


def _mark(size: int, first: bytes, last: bytes) -> str:
    return hashlib.sha256(b"%d %b %b" % (size, first, last[-TAIL:])).hexdigest()[:32]
