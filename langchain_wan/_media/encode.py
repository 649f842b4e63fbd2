"""The one way out: small copies, files of any type, blocks of messages, and the form that a service accepts.

All of them hold upright sRGB pixels and nothing else, so that what is sent, shown and saved looks the same.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from langchain_wan._media import pixels
from langchain_wan._media.decode import convert_pillow, decode_image, guarded, inspect, is_common
from langchain_wan._media.formats import ImageInfo, UnfitImageError
from langchain_wan._media.metadata import has_only_pixels

if TYPE_CHECKING:
    from PIL import Image


# Source: https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference (2026-05-30):
# JPEG, PNG without alpha, BMP, WEBP; each side 240..8000 px; ratio 1:8..8:1; 20 MB.
WIRE_TYPES = frozenset({"image/jpeg", "image/png", "image/bmp", "image/webp"})
MIN_WIRE_SIDE, MAX_WIRE_SIDE = 240, 8000  # pixels
MAX_WIRE_RATIO = 8
# Alibaba advises raw files below 7 MB, so that the data URI stays below its 10 MB cap (same pages).
MAX_WIRE_BYTES = 7_000_000
REFIT_SIDE = 2048
MIN_SIDE = 64  # what is smaller shows too little to be enlarged
JPEG_QUALITY = 92
# What the model providers take that LangChain has converters for.
BLOCK_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})


class WireForm(NamedTuple):
    """An image as it may be sent.

    Attributes:
        enlarged: How it was made larger, as a clause for people; empty where it was not.
    """

    data: bytes
    mime_type: str
    enlarged: str = ""


@guarded()
def thumbnail(data: bytes, max_side: int) -> bytes:
    """Return a PNG of at most `max_side` pixels a side, upright and without metadata."""
    return _encode(decode_image(data, max_side), "PNG")


@guarded()
def preview(data: bytes, max_side: int | None) -> tuple[bytes, str]:
    """Return an image for a vision model and its MIME type: a JPEG, a tenth of a PNG, unless it is transparent."""
    image = decode_image(data, max_side)
    if pixels.is_transparent(image):
        return _encode(image, "PNG"), "image/png"
    opaque = image.convert(image.mode.removesuffix("A"))
    return _encode(opaque, "JPEG", quality=JPEG_QUALITY), "image/jpeg"


@guarded()
def block_form(data: bytes, max_side: int | None) -> tuple[bytes, str]:
    """Return the bytes and MIME type of an image in a message: small, or at full size as it is if it hides nothing."""
    if max_side is not None:
        return preview(data, max_side)
    mime_type = inspect(data).mime_type
    if mime_type in BLOCK_TYPES and has_only_pixels(data, mime_type) and is_common(data):
        return data, mime_type
    if mime_type == "image/jpeg":
        return preview(data, None)
    return _encode(decode_image(data), "PNG"), "image/png"


@guarded()
def wire_form(data: bytes, *, max_bytes: int = MAX_WIRE_BYTES) -> WireForm:
    """Return the form in which a reference may be sent.

    An image that fits the service's rules, that every decoder shows alike and that holds no metadata is returned byte
    for byte. Others are made to fit where a person would not mind: sRGB, alpha on white, EXIF rotation applied,
    metadata dropped, sides at most `REFIT_SIDE` and at least `MIN_WIRE_SIDE`, JPEG where a lossless file would be too
    large.

    Raises:
        NotAnImageError: The bytes are not a supported image.
        UnfitImageError: The image is too small or too narrow.
    """
    info = inspect(data)
    _check_shape(info)
    fits = (
        info.mime_type in WIRE_TYPES
        and min(info.width, info.height) >= MIN_WIRE_SIDE
        and max(info.width, info.height) <= MAX_WIRE_SIDE
        and len(data) <= max_bytes
        and has_only_pixels(data, info.mime_type)
    )
    if fits and is_common(data):
        return WireForm(data, info.mime_type)
    image = decode_image(data, REFIT_SIDE, on_white=True)
    enlarged = ""
    if min(image.size) < MIN_WIRE_SIDE:
        before, image = image.size, _enlarge(image)
        enlarged = f"from {before[0]}x{before[1]} to {image.width}x{image.height} pixels"
    lossless = info.mime_type != "image/jpeg"
    return WireForm(*_compress(image, lossless=lossless, max_bytes=max_bytes), enlarged)


@guarded()
def encode_png(image: Image.Image) -> bytes:
    """Return a Pillow image as PNG bytes: upright, in sRGB, without metadata.

    Raises:
        NotAnImageError: It has no pixels, too many, or numbers that could mean anything.
    """
    return _encode(convert_pillow(image), "PNG")


def _check_shape(info: ImageInfo) -> None:
    short, long = sorted((info.width, info.height))
    size = f"it is {info.width}x{info.height} pixels"
    if short < MIN_SIDE:
        rule = f"each side must have at least {MIN_SIDE} pixels, and is enlarged to {MIN_WIRE_SIDE}"
        raise UnfitImageError(f"{size}; {rule}", remedy="Use a larger image.")
    if long > MAX_WIRE_RATIO * short:
        rule = f"the longer side may be at most {MAX_WIRE_RATIO} times the shorter one"
        raise UnfitImageError(f"{size}; {rule}", remedy="Crop it.")


def _enlarge(image: Image.Image) -> Image.Image:
    from PIL import Image

    factor = MIN_WIRE_SIDE / min(image.size)
    width, height = (max(MIN_WIRE_SIDE, round(side * factor)) for side in image.size)
    limit = MAX_WIRE_RATIO * MIN_WIRE_SIDE  # which rounding must not pass
    return image.resize((min(width, limit), min(height, limit)), Image.Resampling.LANCZOS)


def _compress(image: Image.Image, *, lossless: bool, max_bytes: int) -> tuple[bytes, str]:
    if lossless:
        data = _encode(image, "PNG")
        if len(data) <= max_bytes:
            return data, "image/png"
    for side in (REFIT_SIDE, REFIT_SIDE // 2, MIN_WIRE_SIDE * 2):
        smaller = pixels.shrink(image, side)
        if min(smaller.size) < MIN_WIRE_SIDE:
            break
        for quality in (JPEG_QUALITY, 80, 60):
            data = _encode(smaller, "JPEG", quality=quality)
            if len(data) <= max_bytes:
                return data, "image/jpeg"
    text = f"it can't be made smaller than {max_bytes:,} bytes"
    raise UnfitImageError(text, remedy="Use an image with fewer details, or fewer images.")


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **{"compress_level": 1} if kind == "PNG" else options)
    return out.getvalue()
