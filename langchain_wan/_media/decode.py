"""The one way in: from the bytes of a file, or a Pillow image, to upright sRGB pixels with 8 bits.

Bytes decide what an image is, never a file name or a label. Limits come before pixels. A decoder may raise anything for
a damaged file: all of it becomes an error of `formats`. Pillow is imported when it is needed, which the inspection of
an ordinary file is not.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from langchain_wan._media import bands, cleaning, colour, containers, pixels
from langchain_wan._media.facts import Facts, read_facts, read_info
from langchain_wan._media.formats import (
    FORMATS,
    MAX_FILE_BYTES,
    ImageFileError,
    ImageInfo,
    NotAnImageError,
    UnopenedFormatError,
    build_damage_error,
)
from langchain_wan._media.kinds import build_size_error, identify
from langchain_wan._media.limits import MAX_PIXELS, check_size
from langchain_wan._media.structure import Structure, check_structure, has_all_rows, read_png_header

if TYPE_CHECKING:
    from PIL import Image

# The readers themselves, not `Image.open`: that asks every plugin of the process, and has one limit for all formats.
_READERS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
    "HEIF": ("pillow_heif", "HeifImageFile"),
}
_JPEG_SCALES = (1, 2, 4, 8)


def inspect(data: bytes, *, tolerant: bool = True) -> ImageInfo:
    """Read type and size of an image, and check its file, in linear time and without decoding it.

    Args:
        tolerant: Whether a file with a wrong checksum or end is accepted, as viewers do, if its pixels are there; only
            such a file is decoded.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    with guarded():
        kind, structure = _check(data)
        width, height = structure.width, structure.height
        if kind not in {"PNG", "JPEG"} or not structure.is_common:  # for what is ordinary, Pillow is not even imported
            with open_image(data, kind, structure) as image:
                width, height = image.size
        if not structure.is_sound and not tolerant:
            raise build_damage_error()
        if not structure.is_sound:
            _prove(data, kind, structure)
        return ImageInfo(FORMATS[kind][0], width, height)


def decode_image(data: bytes, max_side: int | None = None, *, on_white: bool = False) -> Image.Image:
    """Decode the first picture of a file: upright, in sRGB, of mode L, LA, RGB or RGBA.

    A JPEG of more than `MAX_PIXELS` is decoded at a reduced scale.

    Args:
        max_side: Pixels of the longer side at most; None means the full size.
        on_white: Whether what is transparent becomes white.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    with guarded():
        kind, structure = _check(data)
        facts = read_facts(data, kind)
        if kind == "PNG" and structure.width * structure.height > bands.LARGE and bands.is_band_png(data):
            step = pixels.find_step((structure.width, structure.height), max_side)
            size = structure.width, structure.height
            image = bands.join_bands(bands.read_bands(data, step), size, step, lambda band: _simple(band, on_white))
        else:
            image, noted = _load(data, kind, structure, max_side)
            facts = noted or facts
        return _finish(image, facts, max_side, on_white=on_white)


def convert_pillow(image: Image.Image) -> Image.Image:
    """Do with a Pillow image what `decode_image` does with a file.

    An orientation in its EXIF is applied, and it is made smaller if it has more than `MAX_PIXELS`.

    Raises:
        NotAnImageError: It has no pixels, too many, or numbers that could mean anything.
    """
    check_size(image.width, image.height, "JPEG")  # it is in memory already
    with guarded():
        image.load()
        simple, step = pixels.simplify(image), _find_scale(image.size)
        box = getattr(image, "dispose_extent", None)  # the area of a GIF's frame
        if isinstance(box, tuple) and image.tell() == 0:
            simple = _place_on_canvas(simple, box)
        if step > 1:
            simple = bands.join_bands(bands.cut_bands(simple, step), simple.size, step, lambda band: band)
        return _finish(simple, read_info(image.info), None)


def _find_scale(size: tuple[int, int]) -> int:
    """Return the power of two by which an image must be made smaller to have at most `MAX_PIXELS`."""
    scale = 1
    while size[0] * size[1] > MAX_PIXELS * scale**2:
        scale *= 2
    return scale


def is_common(data: bytes) -> bool:
    """Say whether any decoder shows a file as this one does: common compression, upright, opaque, 8 bits, sRGB.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    with guarded():
        kind, structure = _check(data)
        facts = read_facts(data, kind)
        if not (structure.is_sound and structure.is_common) or facts.orientation != 1 or facts.has_profile:
            return False
        with open_image(data, kind, structure) as image:
            _load_pixels(image, data, kind)  # a header may promise pixels that are not there
            return not pixels.has_alpha(image)


def open_image(data: bytes, kind: str, structure: Structure) -> Image.Image:
    """Return what Pillow reads of a file before its pixels.

    Raises:
        NotAnImageError: Nothing is installed that reads it.
    """
    name, reader = _READERS[kind]
    try:
        plugin = import_module(name)
        is_missing = kind == "AVIF" and not plugin.SUPPORTED
    except ImportError:
        is_missing = True
    if is_missing:
        raise _build_missing_error(kind)
    cleaned = cleaning.keep_pixels(data, kind, is_sound=structure.is_sound)
    image: Image.Image = getattr(plugin, reader)(io.BytesIO(cleaned))
    check_size(*image.size, kind, scans=structure.scans)
    return image


@contextmanager
def guarded() -> Iterator[None]:
    """Raise a typed error for whatever a decoder or an encoder raises."""
    try:
        yield
    except ImageFileError:
        raise
    except MemoryError as error:
        raise NotAnImageError("there is not enough memory to decode it", remedy="Make it smaller.") from error
    except Exception as error:
        if str(error).startswith("Unsupported"):  # so Pillow says it
            text = "it is stored in a rare form that is not read"
            raise NotAnImageError(text, remedy="Save it anew as PNG or JPEG.") from error
        raise build_damage_error() from error


def _check(data: bytes) -> tuple[str, Structure]:
    if len(data) > MAX_FILE_BYTES:
        raise build_size_error(len(data))
    kind = identify(data)
    return kind, check_structure(data, kind)


def _load(data: bytes, kind: str, structure: Structure, max_side: int | None) -> tuple[Image.Image, Facts | None]:
    """Return the pixels of a file in a simple mode, and where only the decoder knows them its facts."""
    depth = 8
    with open_image(data, kind, structure) as image:
        if kind == "JPEG":
            image.draft(None, _find_draft(image.size, max_side))
        if kind == "PNG":
            depth = read_png_header(data).depth
            _scale_transparency(image, depth)
        _load_pixels(image, data, kind)
        simple = pixels.simplify(image, depth=depth)
        if kind == "GIF":
            simple = _place_on_canvas(simple, _find_frame(data, simple.size))
        if kind not in {"AVIF", "HEIC", "HEIF"}:
            return simple, None
        noted = read_info(image.info)
        orientation = noted.orientation if kind == "AVIF" else 1  # pillow-heif has turned the pixels
        facts = noted if "icc_profile" in image.info else read_facts(data, kind)
        return simple, replace(facts, orientation=orientation)


def _load_pixels(image: Image.Image, data: bytes, kind: str) -> None:
    if kind == "PNG" and not has_all_rows(data):  # Pillow leaves them black
        raise build_damage_error()
    image.load()


def _simple(image: Image.Image, on_white: bool) -> Image.Image:
    simple = pixels.simplify(image)
    return pixels.flatten(simple) if on_white else simple


def _finish(image: Image.Image, facts: Facts, max_side: int | None, *, on_white: bool = False) -> Image.Image:
    image = pixels.shrink(image, max_side)  # first, so that what follows takes less memory
    if on_white:
        image = pixels.flatten(image)
    image = pixels.turn_upright(image, facts.orientation)
    if facts.profile is not None:
        image = colour.convert_to_srgb(image, facts.profile)
    if image.mode == "CMYK":
        image = image.convert("RGB")
    image = image.copy() if image.info else image
    image.info = {}
    return image


def _find_draft(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return the size for which a JPEG is decoded: as small as its decoder can make it, and not below `max_side`."""
    scales = [
        scale for scale in _JPEG_SCALES if scale == 1 or (max_side is not None and max(size) // scale >= max_side)
    ]
    scale = max(scales[-1], _find_scale(size))
    return max(1, size[0] // scale), max(1, size[1] // scale)


def _scale_transparency(image: Image.Image, depth: int) -> None:
    # Pillow makes 8 bits of two and four, and leaves the level that is transparent as it was.
    level = image.info.get("transparency")
    if image.mode == "L" and isinstance(level, int) and depth < 8:  # noqa: PLR2004  bits
        image.info["transparency"] = level * 255 // (2**depth - 1)


def _place_on_canvas(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Return the first frame of a GIF on its canvas, which is transparent beside it, as browsers show it."""
    if box == (0, 0, *image.size):
        return image
    from PIL import Image

    canvas = Image.new("RGBA", image.size)
    canvas.paste(image.convert("RGBA").crop(box), box)
    return canvas


def _find_frame(data: bytes, size: tuple[int, int]) -> tuple[int, int, int, int]:
    frame = containers.read_gif(data)
    return (
        (0, 0, *size) if frame is None else (frame.left, frame.top, frame.left + frame.width, frame.top + frame.height)
    )


def _prove(data: bytes, kind: str, structure: Structure) -> None:
    """Decode a file whose structure is not quite right.

    Raises:
        NotAnImageError: Not all of its pixels are there.
    """
    if kind == "JPEG":
        # The decoder makes grey of what is missing, without a word. If the data is cut off, it would go on with what
        # follows; if it is all there, it ignores it.
        begun = data.rstrip(b"\xff")  # the first byte of an end marker
        images = [_decode_draft(begun + rest, structure) for rest in (b"", b"\x35\xa9\x5c\xd2" * 1024)]
        if images[0].tobytes() != images[1].tobytes():
            raise build_damage_error()
    elif kind != "PNG":  # whose rows were counted with its structure
        with open_image(data, kind, structure) as image:
            image.load()


def _decode_draft(data: bytes, structure: Structure) -> Image.Image:
    with open_image(data, "JPEG", structure) as image:
        image.draft(None, _find_draft(image.size, None))
        image.load()
        return image


def _build_missing_error(kind: str) -> NotAnImageError:
    if kind == "AVIF":
        remedy = "Install one that does: pip install 'pillow>=11.3'. Or save it as PNG or JPEG."
        return UnopenedFormatError("it is an AVIF image, which this Pillow does not read", remedy=remedy, advice=_ASK)
    remedy = "Install the extra: pip install 'langchain-wan[heif]'. Or save it as PNG or JPEG."
    return UnopenedFormatError(f"it is a {kind} photo, and pillow-heif is not installed", remedy=remedy, advice=_ASK)


_ASK = "Ask for it as PNG or JPEG."
