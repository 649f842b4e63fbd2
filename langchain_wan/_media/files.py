"""Images as files of the type that a file name's ending asks for."""

from __future__ import annotations

import io
from importlib.util import find_spec
from mimetypes import MimeTypes
from typing import TYPE_CHECKING

from langchain_wan._media import pixels
from langchain_wan._media.decode import decode_image, inspect
from langchain_wan._media.encode import JPEG_QUALITY
from langchain_wan._media.formats import FORMATS, NotAnImageError

if TYPE_CHECKING:
    from PIL import Image

# Pillow's own names of the types that can be transparent; all others are written on white.
_WITH_ALPHA = frozenset({"PNG", "WEBP", "TIFF", "GIF", "AVIF", "HEIF", "ICO", "ICNS", "JPEG2000", "TGA", "DDS"})
_HEIF_ENDINGS = frozenset({".heic", ".heif", ".hif"})


class UnknownEndingError(ValueError):
    """No writer is known for a file name's ending, or it can't write this image; the text says what to do."""


def as_named(data: bytes, suffix: str) -> bytes:
    """Return an image in the format that a file name's ending asks for; as it is where it asks for none, or its own.

    Raises:
        UnknownEndingError: Nothing writes that format.
        NotAnImageError: The image can't be decoded.
    """
    ending = suffix.lower()
    own = inspect(data).mime_type if ending else ""
    if not ending or ending in _endings(own):
        return data
    kind = _find_writer(ending)
    if kind is None:
        return data
    image = decode_image(data, on_white=kind not in _WITH_ALPHA)
    try:
        return _write(image, kind)
    except MemoryError as error:
        raise NotAnImageError("there is not enough memory to write it", remedy="Make it smaller.") from error
    except Exception as error:
        size = f"{image.width}x{image.height}"
        raise UnknownEndingError(f"{ending} files can't hold this image of {size} pixels; use .png") from error


def _endings(mime_type: str) -> frozenset[str]:
    more = {"image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"), "image/heic": (".heic", ".heif", ".hif")}
    return frozenset((*more.get(mime_type, ()), *(ending for known, ending in FORMATS.values() if known == mime_type)))


def _find_writer(ending: str) -> str | None:
    """Return Pillow's name of the type that an ending names; None for one that names no type, such as `.bin`."""
    from PIL import Image, features

    if ending in _HEIF_ENDINGS:
        if find_spec("pillow_heif") is None:
            raise UnknownEndingError("HEIC is written by an extra: pip install 'langchain-wan[heif]', or use .png")
        return "HEIF"
    kind = Image.registered_extensions().get(ending)
    if kind == "AVIF" and not features.check("avif"):
        raise UnknownEndingError("this Pillow writes no AVIF: pip install 'pillow>=11.3', or use .png")
    if kind in Image.SAVE:
        return kind
    named = MimeTypes().types_map[True].get(ending, "application/octet-stream")
    if kind is None and named == "application/octet-stream" and ending not in _OTHER_ENDINGS:
        return None
    raise UnknownEndingError(f"{ending} is not an image type that can be written; use .png, .jpg, .webp or .tif")


# Image types that neither Pillow nor Python's own table names.
_OTHER_ENDINGS = frozenset(
    {*(".jxl", ".jxr", ".exr", ".hdr", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".xcf", ".kra", ".ai")}
)


def _write(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.from_pillow(image if pixels.has_alpha(image) else image.convert("RGB")).save(out)
    elif kind == "JPEG":
        image.save(out, kind, quality=JPEG_QUALITY, subsampling=0)  # full colours: small text in red stays readable
    elif kind == "WEBP":
        image.save(out, kind, quality=JPEG_QUALITY)
    else:
        try:
            image.save(out, kind)
        except OSError:  # this writer knows no grey, or no alpha
            out = io.BytesIO()
            pixels.flatten(image).convert("RGB").save(out, kind)
    return out.getvalue()
