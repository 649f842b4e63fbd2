"""Images as text: base64, bare or in a data URI."""

from __future__ import annotations

import binascii
import io
import re
from typing import TYPE_CHECKING

from langchain_wan._media.formats import MAX_FILE_BYTES, NotAnImageError
from langchain_wan._media.large_json import Span

if TYPE_CHECKING:
    pass

BASE64_SLICE = 2**20  # characters, a multiple of four: one big call holds the interpreter lock for 40 ms

_DATA_URI_HEAD = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64", re.IGNORECASE)


def decode_data_uri(text: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a base64 data URI of an image.

    Raises:
        NotAnImageError: It is not a data URI of an image, or its bytes are more than `max_bytes`.
    """
    head, comma, body = text.partition(",")
    if not comma or not _DATA_URI_HEAD.fullmatch(head):
        raise NotAnImageError("not a base64 data URI of an image")
    if len(body) > max_bytes * 4 // 3 + 4:
        raise NotAnImageError("the data URI is too long")
    return decode_base64(body)


def decode_image_text(text: str) -> bytes:
    """Return the bytes of an image that a service sent as text: bare base64, or a data URI with any label.

    Raises:
        NotAnImageError: It is not base64.
    """
    if isinstance(text, Span):
        return _span_bytes(text)
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    if "\n" in text or " " in text:
        text = "".join(text.split())
    return decode_base64(text)


def _span_bytes(text: Span) -> bytes:
    start = text.start + (text.find(",") + 1 if text[:5].lower() == "data:" else 0)
    if text.body.find(b"=", start, text.end - 2) >= 0:
        raise NotAnImageError("not valid base64")
    decoded = io.BytesIO()  # grows in offset, and gives its bytes away without a copy
    whole = memoryview(text.body)
    try:
        for offset in range(start, text.end, BASE64_SLICE):
            decoded.write(binascii.a2b_base64(whole[offset : min(text.end, offset + BASE64_SLICE)], strict_mode=True))
    except ValueError:  # perhaps only broken into lines
        return decode_base64("".join(str(whole[start : text.end], "ascii", "replace").split()))
    return decoded.getvalue()


def decode_base64(text: str) -> bytes:
    """Decode base64 strictly, in slices that keep the interpreter free for other threads.

    Raises:
        NotAnImageError: It is not base64.
    """
    if "=" in text[:-2]:  # in slices, padding between two of them would go unnoticed
        raise NotAnImageError("not valid base64")
    try:
        parts = (text[start : start + BASE64_SLICE] for start in range(0, len(text), BASE64_SLICE))
        return b"".join([binascii.a2b_base64(part, strict_mode=True) for part in parts])
    except (ValueError, UnicodeError) as error:
        raise NotAnImageError("not valid base64") from error
