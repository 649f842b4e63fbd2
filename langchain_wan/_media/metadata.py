"""What stands in an image file beside its pixels: only files that hold nothing else may leave as they are.

A list of what may stay, not of what has to go: an unknown segment counts as metadata.
"""

from __future__ import annotations

import re

# https://www.w3.org/TR/png-3/ (2025-06): colour and geometry, no text, no time, no EXIF.
_PNG_CHUNKS = frozenset(
    {*(b"IHDR", b"PLTE", b"IDAT", b"IEND"), *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs")}
)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1: tables, frames and scans.
_JPEG_TABLES = frozenset(
    {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)}
)
_JPEG_APPLICATION = {0xE0: b"JFIF\x00", 0xE2: b"ICC_PROFILE\x00", 0xEE: b"Adobe"}
_JPEG_HEADER_LENGTHS = {0xE0: 14, 0xEE: 12}
SEARCHED = 2**17  # bytes
_JPEG_START, _JPEG_END, _JPEG_SCAN = 0xD8, 0xD9, 0xDA
# In scan data, FF 00 is a byte of it and FF D0..D7 a restart; anything else after FF is the next marker.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")  # of several FF the last one counts

# https://developers.google.com/speed/webp/docs/riff_container (2025-08)
_WEBP_CHUNKS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"})


def has_only_pixels(data: bytes, mime_type: str) -> bool:
    """Say whether a file holds an image and its colour profile, and nothing else."""
    reader = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp, "image/bmp": _bmp}.get(mime_type)
    return reader is not None and reader(data)


def is_complete_jpeg(data: bytes) -> bool:
    """Say whether a JPEG has its end; some phones write a film behind it."""
    return _jpeg_end(data) is not None


def _png(data: bytes) -> bool:
    offset = len(_PNG_SIGNATURE)
    while offset + 12 <= len(data):
        length, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        if kind not in _PNG_CHUNKS:
            return False
        offset += 12 + length
        if kind == b"IEND":
            return offset == len(data)
    return False


def _jpeg(data: bytes) -> bool:
    return _jpeg_end(data, strict=True) == len(data)


def _jpeg_end(data: bytes, *, strict: bool = False) -> int | None:
    """Return the offset behind the end marker; None if there is none or, strictly, if there is metadata before it."""
    offset = 0
    while (match := _next_marker(data, offset)) is not None:
        marker = match[1][0]
        offset = match.end()
        if marker == _JPEG_END:
            return offset
        if marker in {_JPEG_START, 0x01}:
            continue
        length = int.from_bytes(data[offset : offset + 2], "big")
        body = data[offset + 2 : offset + length]
        if strict and marker not in _JPEG_TABLES and not _is_colour(marker, body):
            return None
        if strict and marker != _JPEG_SCAN and data[offset + length : offset + length + 1] not in {b"\xff", b""}:
            return None
        offset += max(length, 2)
    return None


def _next_marker(data: bytes, offset: int) -> re.Match[bytes] | None:
    # In windows: one search through the megabytes of a scan would hold the interpreter lock for 100 ms.
    for start in range(offset, len(data), SEARCHED):
        match = _JPEG_MARKER.search(data, max(offset, start - 1), start + SEARCHED)  # FF may end the window before
        if match is not None:
            return match
    return None


def _is_colour(marker: int, body: bytes) -> bool:
    start = _JPEG_APPLICATION.get(marker)
    if start is None or not body.startswith(start):
        return False
    # A longer JFIF header holds a thumbnail, which can show what was cut off the image; a longer Adobe one, notes.
    return len(body) == _JPEG_HEADER_LENGTHS.get(marker, len(body))


def _webp(data: bytes) -> bool:
    if int.from_bytes(data[4:8], "little") + 8 != len(data):
        return False
    offset = 12
    while offset + 8 <= len(data):
        kind, length = data[offset : offset + 4], int.from_bytes(data[offset + 4 : offset + 8], "little")
        if kind not in _WEBP_CHUNKS:
            return False
        offset += 8 + length + length % 2
    return offset == len(data)


def _bmp(data: bytes) -> bool:
    size, pixels = int.from_bytes(data[2:6], "little"), int.from_bytes(data[10:14], "little")
    return size == len(data) > pixels > 0 and pixels <= _BMP_LARGEST_HEAD


_BMP_LARGEST_HEAD = 14 + 124 + 4 * 256  # file header, version 5 header, palette
