"""Whether an image file is complete, judged by its parts in linear time: no pixel is decoded.

Where a checksum or an end marker is wrong, `is_sound` is False: viewers show such files if the data itself is there,
which only decoding can tell.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from langchain_wan._media import containers
from langchain_wan._media.formats import NotAnImageError, build_damage_error
from langchain_wan._media.limits import (
    DEFLATE_RATIO,
    MAX_FILM_INDEX,
    MAX_ITEM_TABLE,
    MAX_RUN_PIXELS,
    build_count_error,
    check_size,
)

INFLATED = 2**20  # bytes at a time


@dataclass(frozen=True)
class Structure:
    """What the parts of a file say.

    Attributes:
        width: Pixels, as stored; 0 where only the decoder reads the size.
        height: Pixels, as stored; 0 where only the decoder reads the size.
        is_sound: Whether every checksum and end marker is right.
        is_common: Whether every decoder reads it alike: 8 bits, grey, RGB or a palette, no rare compression.
        scans: Of a JPEG: how often all of it is passed over.
    """

    width: int = 0
    height: int = 0
    is_sound: bool = True
    is_common: bool = True
    scans: int = 1


def check_structure(data: bytes, kind: str) -> Structure:
    """Read the parts of a file, within the limits.

    Raises:
        NotAnImageError: It is damaged, too large, or of a form that is not read.
    """
    readers = {"PNG": _check_png, "JPEG": _check_jpeg, "WEBP": _check_webp, "BMP": _check_bmp, "GIF": _check_gif}
    structure = readers.get(kind, _check_iso)(data)
    if kind in readers:
        check_size(structure.width, structure.height, kind, scans=structure.scans)
    return structure


def is_complete_jpeg(data: bytes) -> bool:
    """Say whether a JPEG has its end; some phones write a film behind it."""
    return any(part.kind == containers.JPEG_END for part in containers.read_jpeg(data))


@dataclass(frozen=True)
class PngHeader:
    """The header of a PNG."""

    width: int
    height: int
    depth: int
    colour: int
    interlace: int

    @property
    def channels(self) -> int:
        """Samples a pixel; an index into a palette is one."""
        return {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[self.colour]

    def row_bytes(self, width: int) -> int:
        """Return the bytes of a row of `width` pixels, without its filter."""
        return (width * self.channels * self.depth + 7) // 8

    @property
    def raw_bytes(self) -> int:
        """What the image data unpacks to."""
        if not self.interlace:
            return self.height * (1 + self.row_bytes(self.width))
        passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        sizes = (((self.width - x + dx - 1) // dx, (self.height - y + dy - 1) // dy) for x, y, dx, dy in passes)
        return sum(rows * (1 + self.row_bytes(columns)) for columns, rows in sizes if columns > 0 and rows > 0)


# https://www.w3.org/TR/png-3/ (2025-06), table 11.1
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def read_png_header(data: bytes) -> PngHeader:
    """Return the header of a PNG.

    Raises:
        NotAnImageError: It has none that a decoder could use.
    """
    if data[12:16] == b"CgBI":
        raise NotAnImageError("it is a PNG in the private form of iPhone apps", remedy="Save it anew as PNG or JPEG.")
    if data[8:16] != b"\x00\x00\x00\x0dIHDR" or len(data) < _PNG_HEAD:
        raise build_damage_error()
    width, height, depth, colour, packing, filters, interlace = struct.unpack(">IIBBBBB", data[16:29])
    if depth not in _PNG_DEPTHS.get(colour, ()) or packing or filters or interlace > 1:
        raise build_damage_error()
    return PngHeader(width, height, depth, colour, interlace)


_PNG_HEAD = 33  # bytes: signature and header


def _check_png(data: bytes) -> Structure:
    header = read_png_header(data)
    check_size(header.width, header.height, "PNG")
    view, is_sound, kind, packed, seen = memoryview(data), True, b"", 0, set()
    for part in containers.read_png(data):
        kind = part.kind
        is_whole = part.end + 4 <= len(data)
        is_critical = not kind[0] & 0x20
        if (is_critical and kind not in _PNG_CRITICAL) or (kind in _PNG_ONCE and kind in seen):
            raise build_damage_error()
        if kind == b"IDAT":
            packed += min(part.end, len(data)) - part.body
        seen.add(kind)
        if not is_whole or (is_critical and zlib.crc32(view[part.start + 4 : part.end]) != _checksum(data, part.end)):
            is_sound = False
    if not packed:
        raise NotAnImageError("it has no image data", remedy="Get the file again.")
    if packed * DEFLATE_RATIO < header.raw_bytes or (header.colour == _PALETTE and b"PLTE" not in seen):
        raise build_damage_error()
    is_sound = is_sound and kind == b"IEND"
    if not is_sound and not has_all_rows(data):
        raise build_damage_error()
    return Structure(header.width, header.height, is_sound, header.depth <= 8)  # noqa: PLR2004  bits


_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_ONCE = frozenset({b"IHDR", b"PLTE"})
_PALETTE = 3  # the colour type


def _checksum(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 4], "big")


def has_all_rows(data: bytes) -> bool:
    """Say whether the image data of a PNG unpacks to every row, even if a checksum or the end is wrong."""
    is_damaged, missing, unpacker = False, read_png_header(data).raw_bytes, zlib.decompressobj()
    for part in containers.read_png(data):
        if part.kind != b"IDAT":
            continue
        body, is_whole = data[part.body : part.end], part.end + 4 <= len(data)
        is_damaged |= is_whole and zlib.crc32(b"IDAT" + body) != _checksum(data, part.end)
        try:
            for piece in inflate(unpacker, body):
                missing -= len(piece)
                if missing < -INFLATED:  # it goes on behind the rows, perhaps for gigabytes
                    return not is_damaged
        except zlib.error:
            return missing <= 0 and not is_damaged
    # If the stream ends with the right checksum of its own, that of the chunk is the wrong one.
    return missing <= 0 and (unpacker.eof or not is_damaged)


def inflate(unpacker: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what a part of a stream unpacks to, a megabyte at a time."""
    for start in range(0, len(data), _FED):  # what is not consumed is copied each time
        packed = data[start : start + _FED]
        while packed and not unpacker.eof:
            yield unpacker.decompress(packed, INFLATED)
            packed = unpacker.unconsumed_tail


_FED = 2**16  # bytes


# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_COMMON = frozenset({0xC0, 0xC1, 0xC2})


def _check_jpeg(data: bytes) -> Structure:
    frames, scans, is_complete = [], 0, False
    for part in containers.read_jpeg(data):
        marker = part.kind[0]
        if marker in _JPEG_FRAMES:
            frames.append((marker, data[part.body : min(part.end, part.body + 6)]))
        scans += part.kind == containers.JPEG_SCAN
        is_complete = part.kind == containers.JPEG_END
    if len(frames) != 1 or not scans or len(frames[0][1]) < 6:  # noqa: PLR2004  bytes
        raise build_damage_error()
    marker, (depth, *size, components) = frames[0]
    height, width = int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
    is_common = marker in _JPEG_COMMON and depth == 8 and components in {1, 3}  # noqa: PLR2004  bits
    return Structure(width, height, is_complete, is_common, scans)


def _check_webp(data: bytes) -> Structure:
    parts = {part.kind: part for part in reversed(list(containers.read_webp(data)))}  # the first of each kind
    is_sound = int.from_bytes(data[4:8], "little") + 8 <= len(data)
    body = {kind: data[part.body : part.body + 10] for kind, part in parts.items()}
    if not parts.keys() & {b"VP8 ", b"VP8L", b"ANMF"} or any(part.body >= len(data) for part in parts.values()):
        raise build_damage_error()
    is_sound = is_sound and all(part.end <= len(data) for part in parts.values())
    # https://developers.google.com/speed/webp/docs/riff_container (2025-08)
    if b"VP8X" in body:
        size = body[b"VP8X"][4:].ljust(6, b"\0")
        width, height = (int.from_bytes(size[start : start + 3], "little") + 1 for start in (0, 3))
    elif b"VP8 " in body:
        size = body[b"VP8 "][6:].ljust(4, b"\0")
        width, height = (int.from_bytes(size[start : start + 2], "little") & 0x3FFF for start in (0, 2))
    else:
        bits = int.from_bytes(body[b"VP8L"][1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return Structure(width, height, is_sound)


_BMP_SPARE = 2**16  # bytes, for ends of lines and of the file
_BMP_CORE = 12  # bytes of the header of OS/2


def _check_bmp(data: bytes) -> Structure:
    pixels, header = (int.from_bytes(data[start : start + 4], "little") for start in (10, 14))
    if header == _BMP_CORE:
        width, height, _, depth = struct.unpack("<HHHH", data[18:26])
        compression = 0
    elif len(data) >= 34:  # noqa: PLR2004  bytes
        width, height, _, depth, compression = struct.unpack("<iiHHI", data[18:34])
    else:
        raise build_damage_error()
    height = abs(height)
    needed = pixels + (width * depth + 31) // 32 * 4 * height
    is_packed = compression not in {0, 3, 6}  # runs of colours: only decoding shows whether all are there
    if is_packed and width * height > MAX_RUN_PIXELS:
        raise build_count_error("pixels packed in runs", MAX_RUN_PIXELS)
    if is_packed and len(data) - pixels > 4 * width * height + _BMP_SPARE:  # two bytes a pixel, where no two are alike
        raise build_damage_error()
    is_sound = not is_packed and len(data) >= needed
    # Version 5 of the header is the only one that may name a profile, and with masks a decoder may see alpha.
    is_common = header in {_BMP_CORE, 40} and compression == 0 and depth in {1, 4, 8, 24}
    return Structure(width, height, is_sound, is_common)


def _check_gif(data: bytes) -> Structure:
    frame = containers.read_gif(data)
    if frame is None or not frame.width or not frame.height:
        raise build_damage_error()
    return Structure(*frame.canvas, is_sound=frame.is_complete)


def _check_iso(data: bytes) -> Structure:
    kinds, end = set(), 0
    for part in containers.read_iso(data):
        kinds.add(part.kind)
        end = part.end
        if part.end > len(data):
            raise build_damage_error()
        if part.kind == b"moov" and part.end - part.start > MAX_FILM_INDEX:
            raise build_count_error("entries in the index of its film", MAX_FILM_INDEX, " bytes")
    if not kinds >= {b"ftyp", b"meta"} or end > len(data):
        raise build_damage_error()
    _check_items(containers.find_box(data, b"meta")[4:])
    return Structure(is_common=False)


def _check_items(meta: bytes) -> None:
    """Check the tables of the items that an AVIF or HEIF is made of, and the size that each says it has."""
    properties = containers.find_box(meta, b"iprp")
    for box, kinds in ((meta, (b"iinf", b"iloc", b"iref")), (properties, (b"ipma",))):
        for part in containers.read_iso(box):
            if part.kind in kinds and part.end - part.start > MAX_ITEM_TABLE:
                raise build_count_error("items", MAX_ITEM_TABLE, " bytes of tables")
    container = containers.find_box(properties, b"ipco")
    for part in containers.read_iso(container):
        if part.kind == b"ispe":
            width, height = struct.unpack(">II", container[part.body + 4 : part.body + 12])
            check_size(width, height, "HEIF")
