"""Large images in bands of rows, so that only a small part of one is unpacked at a time."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from langchain_wan._media import containers
from langchain_wan._media.formats import build_damage_error
from langchain_wan._media.structure import inflate, read_png_header

if TYPE_CHECKING:
    from PIL import Image

BAND_PIXELS = 500_000
LARGE = 8_000_000  # pixels from which memory counts more than simplicity


def is_band_png(data: bytes) -> bool:
    """Say whether a PNG can be decoded in bands: the last row of each must give back its very bytes."""
    header = read_png_header(data)
    return header.depth == 8 and not header.interlace  # noqa: PLR2004  bits


def read_bands(data: bytes, step: int) -> Iterator[Image.Image]:
    """Decode a PNG that `is_band_png` from top to bottom, in bands whose heights are multiples of `step`.

    Each band becomes a small PNG of its own. A row may be stored as the difference from the one above it, so that the
    small PNG begins with the last row of the band before.
    """
    from PIL import PngImagePlugin

    header = read_png_header(data)
    stride, above = header.row_bytes(header.width), b""
    rows = max(1, BAND_PIXELS // header.width // step) * step
    packed, top = _Unpacker(data), 0
    while top < header.height:
        count = min(rows, header.height - top)
        raw = packed.read(count * (1 + stride))
        if above:
            raw = b"\0" + above + raw
        with PngImagePlugin.PngImageFile(io.BytesIO(_build_png(data, count + bool(above), raw))) as band:
            band.load()
            last = (0, band.height - 1, band.width, band.height)
            # Without transparency, or `crop` would know it too.
            image = band.crop((0, 1, band.width, band.height)) if above else band
            above = band.crop(last).tobytes()
            yield image
        top += count


class _Unpacker:
    """The image data of a PNG, unpacked as far as it is needed."""

    def __init__(self, data: bytes) -> None:
        self._pieces, self._buffer = self._inflate(data), bytearray()

    def read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            piece = next(self._pieces, None)
            if piece is None:
                raise build_damage_error()
            self._buffer += piece
        raw = bytes(self._buffer[:length])
        del self._buffer[:length]
        return raw

    @staticmethod
    def _inflate(data: bytes) -> Iterator[bytes]:
        unpacker = zlib.decompressobj()
        for part in containers.read_png(data):
            if part.kind == b"IDAT":
                try:
                    yield from inflate(unpacker, data[part.body : part.end])
                except zlib.error:
                    return


def _build_png(data: bytes, rows: int, raw: bytes) -> bytes:
    pieces = [containers.PNG_SIGNATURE]
    for part in containers.read_png(data):
        body = data[part.body : part.end]
        if part.kind == b"IHDR":
            pieces.append(build_chunk(b"IHDR", body[:4] + rows.to_bytes(4, "big") + body[8:]))
        elif part.kind in {b"PLTE", b"tRNS"}:
            pieces.append(build_chunk(part.kind, body))
        elif part.kind == b"IDAT":
            break
    pieces += [build_chunk(b"IDAT", zlib.compress(raw, 0)), build_chunk(b"IEND", b"")]
    return b"".join(pieces)


def build_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG, with its length and checksum."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def cut_bands(image: Image.Image, step: int) -> Iterator[Image.Image]:
    """Yield an image that is in memory, from top to bottom, in bands whose heights are multiples of `step`."""
    rows = max(1, BAND_PIXELS // image.width // step) * step
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(image.height, top + rows)))


def join_bands(
    bands: Iterator[Image.Image], size: tuple[int, int], step: int, each: Callable[..., Image.Image]
) -> Image.Image:
    """Return the image of `size` that bands are, each changed by `each` and made smaller by the whole number `step`."""
    from PIL import Image

    joined, top = None, 0
    for band in bands:
        changed = each(band)
        piece = changed.reduce(step) if step > 1 else changed
        if joined is None:
            joined = Image.new(piece.mode, (-(-size[0] // step), -(-size[1] // step)))
        joined.paste(piece, (0, top))
        top += piece.height
    if joined is None:
        raise build_damage_error()
    return joined
