"""What an image file contains besides its pixels: only files with nothing else are sent as they are.

A list of what may stay, not of what must go: an unknown segment counts as metadata. Whether a colour profile may stay
is judged by what it says, in `facts`.
"""

from __future__ import annotations

from langchain_wan._media import containers

# https://www.w3.org/TR/png-3/ (2025-06): colour and geometry, no text, no time, no EXIF.
_PNG_CHUNKS = frozenset(
    {*(b"IHDR", b"PLTE", b"IDAT", b"IEND"), *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs")}
)

# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1: tables, frames and scans.
_JPEG_TABLES = frozenset(
    {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC)}
)
_JPEG_APPLICATION = {0xE0: b"JFIF\x00", 0xE2: b"ICC_PROFILE\x00", 0xEE: b"Adobe"}
_JPEG_HEADER_LENGTHS = {0xE0: 14, 0xEE: 12}

# https://developers.google.com/speed/webp/docs/riff_container (2025-08)
_WEBP_CHUNKS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP"})


def has_only_pixels(data: bytes, mime_type: str) -> bool:
    """Say whether a file holds an image and its colour profile, and nothing else."""
    reader = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp, "image/bmp": _bmp}.get(mime_type)
    return reader is not None and reader(data)


def _png(data: bytes) -> bool:
    end = None
    for part in containers.read_png(data):
        if part.kind not in _PNG_CHUNKS:
            return False
        end = part.end + 4
    return end == len(data) and data[end - 8 : end - 4] == b"IEND"


def _jpeg(data: bytes) -> bool:
    end, marker = 0, 0
    for part in containers.read_jpeg(data):
        # Between two segments nothing may stand but fill bytes; behind that of a scan stands its data.
        if marker != containers.JPEG_SCAN[0] and data[end : part.start].strip(b"\xff"):
            return False
        end, marker = part.end, part.kind[0]
        if marker not in _JPEG_BARE and marker not in _JPEG_TABLES and not _is_colour(marker, data[part.body : end]):
            return False
    return marker == containers.JPEG_END[0] and end == len(data)


_JPEG_BARE = frozenset({containers.JPEG_START[0], containers.JPEG_END[0], 0x01})


def _is_colour(marker: int, body: bytes) -> bool:
    start = _JPEG_APPLICATION.get(marker)
    if start is None or not body.startswith(start):
        return False
    # A longer JFIF header holds a thumbnail, which can show what was cut off the image; a longer Adobe one, notes.
    return len(body) == _JPEG_HEADER_LENGTHS.get(marker, len(body))


def _webp(data: bytes) -> bool:
    if int.from_bytes(data[4:8], "little") + 8 != len(data):
        return False
    end = 12
    for part in containers.read_webp(data):
        if part.kind not in _WEBP_CHUNKS:
            return False
        end = part.end + (part.end - part.body) % 2
    return end == len(data)


def _bmp(data: bytes) -> bool:
    size, pixels = int.from_bytes(data[2:6], "little"), int.from_bytes(data[10:14], "little")
    return size == len(data) > pixels > 0 and pixels <= _BMP_LARGEST_HEAD


_BMP_LARGEST_HEAD = 14 + 124 + 4 * 256  # file header, version 5 header, palette
