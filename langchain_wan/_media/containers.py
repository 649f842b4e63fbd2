"""The parts that image files are made of: chunks, segments and boxes, in linear time and without a copy.

No reader goes on for ever: a file of too many parts is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import NamedTuple

from langchain_wan._media.limits import MAX_GIF_BLOCKS, MAX_PARTS, build_count_error

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SEARCHED = 2**17  # bytes
JPEG_START, JPEG_END, JPEG_SCAN = b"\xd8", b"\xd9", b"\xda"
_BARE_MARKERS = frozenset({JPEG_START, JPEG_END, b"\x01"})
# In scan data, FF 00 is a byte of it and FF D0..D7 a restart; anything else after FF is the next marker.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])", re.DOTALL)  # of several FF the last one counts


class Part(NamedTuple):
    """A part of a file; the offsets may lie behind the end of a file that is cut off.

    Attributes:
        kind: Four letters, or the second byte of a JPEG marker.
        start: Where it begins, with its length or marker.
        body: Where its content begins.
        end: Where its content ends.
    """

    kind: bytes
    start: int
    body: int
    end: int


def _limited(reader: Callable[[bytes], Iterator[Part]]) -> Callable[[bytes], Iterator[Part]]:
    @wraps(reader)
    def read(data: bytes) -> Iterator[Part]:
        for number, part in enumerate(reader(data)):
            if number == MAX_PARTS:
                raise build_count_error("parts", MAX_PARTS)
            yield part

    return read


@_limited
def read_png(data: bytes) -> Iterator[Part]:
    """Yield the chunks of a PNG up to its end marker; a checksum of four bytes follows each."""
    offset = len(PNG_SIGNATURE)
    while offset + 8 <= len(data):
        end = offset + 8 + int.from_bytes(data[offset : offset + 4], "big")
        part = Part(data[offset + 4 : offset + 8], offset, offset + 8, end)
        yield part
        if part.kind == b"IEND":
            return
        offset = end + 4


@_limited
def read_jpeg(data: bytes) -> Iterator[Part]:
    """Yield the segments of a JPEG up to its end marker; the data of a scan lies behind its segment."""
    offset = 0
    while (match := _find_marker(data, offset)) is not None:
        offset = match.end()
        if match[1] in _BARE_MARKERS:
            yield Part(match[1], match.start(), offset, offset)
            if match[1] == JPEG_END:
                return
            continue
        end = offset + max(2, int.from_bytes(data[offset : offset + 2], "big"))
        yield Part(match[1], match.start(), offset + 2, end)
        offset = end


def _find_marker(data: bytes, offset: int) -> re.Match[bytes] | None:
    # In windows: one search through the megabytes of a scan would hold the interpreter lock for 100 ms.
    for start in range(offset, len(data), SEARCHED):
        match = _JPEG_MARKER.search(data, max(offset, start - 1), start + SEARCHED)  # FF may end the window before
        if match is not None:
            return match
    return None


@_limited
def read_webp(data: bytes) -> Iterator[Part]:
    """Yield the chunks of a WebP; what stands behind its end is not read."""
    offset, end = 12, min(len(data), int.from_bytes(data[4:8], "little") + 8)
    while offset + 8 <= end:
        length = int.from_bytes(data[offset + 4 : offset + 8], "little")
        yield Part(data[offset : offset + 4], offset, offset + 8, offset + 8 + length)
        offset += 8 + length + length % 2


@_limited
def read_iso(data: bytes) -> Iterator[Part]:
    """Yield the outer boxes of an AVIF or HEIF (ISO/IEC 14496-12)."""
    offset = 0
    while offset + 8 <= len(data):
        length, body = int.from_bytes(data[offset : offset + 4], "big"), offset + 8
        if length == 1:
            length, body = int.from_bytes(data[offset + 8 : offset + 16], "big"), offset + 16
        elif length == 0:  # to the end of the file
            length = len(data) - offset
        end = offset + max(length, body - offset)
        yield Part(data[offset + 4 : offset + 8], offset, body, end)
        offset = end


def find_box(data: bytes, kind: bytes) -> bytes:
    """Return what the first box of a kind contains; nothing if there is none."""
    return next((data[part.body : part.end] for part in read_iso(data) if part.kind == kind), b"")


class GifFrame(NamedTuple):
    """The first frame of a GIF on its canvas, in pixels.

    Attributes:
        alone: A GIF of nothing but this frame, with its palette and its transparent colour.
    """

    canvas: tuple[int, int]
    left: int
    top: int
    width: int
    height: int
    is_complete: bool
    alone: bytes


def read_gif(data: bytes) -> GifFrame | None:
    """Return the first frame of a GIF, or None if it has none."""
    canvas = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    offset = head = 13 + _gif_palette(data[10:11])
    blocks, control = [0], b""
    while offset < len(data):
        start, introducer = offset, data[offset]
        if introducer == _GIF_EXTENSION:
            after = _skip_gif_blocks(data, offset + 2, blocks)
            if after is None:
                return None
            offset = after
            control = data[start:offset] if data[start + 1] == _GIF_CONTROL else control
        elif introducer == _GIF_IMAGE and offset + 10 <= len(data):
            left, top, width, height = (
                int.from_bytes(data[start : start + 2], "little") for start in range(offset + 1, offset + 9, 2)
            )
            end = _skip_gif_blocks(data, offset + 11 + _gif_palette(data[offset + 9 : offset + 10]), blocks)
            # As browsers do: a first frame that does not fit on the canvas makes it larger.
            canvas = max(canvas[0], left + width), max(canvas[1], top + height)
            alone = data[:head] + control + data[start:end] + b";"
            return GifFrame(canvas, left, top, width, height, end is not None, alone)
        else:
            return None
    return None


_GIF_EXTENSION, _GIF_CONTROL, _GIF_IMAGE = 0x21, 0xF9, 0x2C
_GIF_PALETTE = 0x80


def _gif_palette(packed: bytes) -> int:
    """Return how many bytes the palette takes."""
    return 3 * 2 ** ((packed[0] & 7) + 1) if packed and packed[0] & _GIF_PALETTE else 0


def _skip_gif_blocks(data: bytes, offset: int, blocks: list[int]) -> int | None:
    """Return the offset behind a chain of blocks, or None if it is cut off; `blocks` counts those of the file."""
    while offset < len(data):
        blocks[0] += 1
        if blocks[0] > MAX_GIF_BLOCKS:
            raise build_count_error("blocks", MAX_GIF_BLOCKS)
        if data[offset] == 0:
            return offset + 1
        offset += 1 + data[offset]
    return None
