"""Images as text: base64, bare or in a data URI, in every spelling. What the bytes are, they say themselves."""

from __future__ import annotations

import binascii
import io
import re
from urllib.parse import unquote

from langchain_wan._media.formats import MAX_FILE_BYTES, NotAnImageError
from langchain_wan._media.large_json import Span

BASE64_SLICE = 2**20  # characters, a multiple of four: one big call holds the interpreter lock for 40 ms

_DATA_URI_HEAD = re.compile(r"data:[^,]{0,200};base64", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


def decode_data_uri(text: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a base64 data URI, whatever its label says: bytes decide what is an image.

    Raises:
        NotAnImageError: It is not a base64 data URI, or its bytes are more than `max_bytes`.
    """
    head, comma, body = text.partition(",")
    if not comma or not _DATA_URI_HEAD.fullmatch(head):
        raise NotAnImageError("it is not a base64 data URI", remedy="Pass data:image/png;base64,... with every byte.")
    if len(body) > max_bytes * 4 // 3 + 4 and len("".join(body.split())) > max_bytes * 4 // 3 + 4:
        text = f"the data URI is too long: {len(body):,} characters, for at most {max_bytes:,} bytes"
        raise NotAnImageError(text, remedy="Save the image as a smaller JPEG.")
    return decode_base64(body)


def decode_image_text(text: str) -> bytes:
    """Return the bytes of an image that a service sent as text: bare base64, or a data URI with any label.

    Raises:
        NotAnImageError: It is not base64.
    """
    if isinstance(text, Span):
        return _decode_span(text)
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    return decode_base64(text)


def _decode_span(text: Span) -> bytes:
    start = text.start + (text.find(",") + 1 if text[:5].lower() == "data:" else 0)
    decoded = io.BytesIO()  # grows in place, and gives its bytes away without a copy
    whole = memoryview(text.body)
    if text.body.find(b"=", start, text.end - 2) >= 0:  # in slices, padding between two of them would go unnoticed
        return decode_base64(str(whole[start : text.end], "ascii", "replace"))
    try:
        for offset in range(start, text.end, BASE64_SLICE):
            decoded.write(binascii.a2b_base64(whole[offset : min(text.end, offset + BASE64_SLICE)], strict_mode=True))
    except ValueError:  # perhaps another spelling
        return decode_base64(str(whole[start : text.end], "ascii", "replace"))
    return decoded.getvalue()


def decode_base64(text: str) -> bytes:
    """Decode base64 in any of its spellings: broken into lines, without padding, safe for URLs, or percent-encoded.

    It is decoded in slices that keep the interpreter free for other threads.

    Raises:
        NotAnImageError: It is not base64.
    """
    try:
        return _decode_strictly(text)
    except ValueError:
        pass
    plain = "".join(unquote(text).split()) if "%" in text else "".join(text.split())
    plain = plain.rstrip("=").translate(_URL_SAFE)
    if not plain:
        raise _build_base64_error()
    try:
        return _decode_strictly(plain + "=" * (-len(plain) % 4))
    except ValueError as error:
        raise _build_base64_error() from error


def _decode_strictly(text: str) -> bytes:
    if "=" in text[:-2]:  # in slices, padding between two of them would go unnoticed
        raise ValueError("padding inside")
    parts = (text[start : start + BASE64_SLICE] for start in range(0, len(text), BASE64_SLICE))
    return b"".join([binascii.a2b_base64(part, strict_mode=True) for part in parts])


def _build_base64_error() -> NotAnImageError:
    return NotAnImageError("it is not valid base64", remedy="Encode the whole file anew.")
