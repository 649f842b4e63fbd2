"""Image bytes that are written: thumbnails, previews, files, and the form that a service accepts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from langchain_wan._media.decode import decode_image, has_alpha, inspect, load_pixels, open_image
from langchain_wan._media.formats import FORMATS, OPENED, ImageInfo, UnfitImageError
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
JPEG_QUALITY = 92


def thumbnail(data: bytes, max_side: int) -> bytes:
    """Return a PNG of at most `max_side` pixels a side, upright and without metadata."""
    with decode_image(data, max_side) as image:
        out = io.BytesIO()
        image.save(out, "PNG")
    return out.getvalue()


def preview(data: bytes, max_side: int) -> tuple[bytes, str]:
    """Return a small image for a vision model and its MIME type: a JPEG, a tenth of a PNG, unless it has alpha."""
    with decode_image(data, max_side) as image:
        kind, mime_type = ("PNG", "image/png") if has_alpha(image) else ("JPEG", "image/jpeg")
        out = io.BytesIO()
        image.save(out, kind, quality=JPEG_QUALITY)
    return out.getvalue(), mime_type


def wire_form(data: bytes, *, max_bytes: int = MAX_WIRE_BYTES) -> tuple[bytes, str]:
    """Return the bytes and MIME type in which a reference may be sent.

    An image that fits the service's rules and holds no metadata is returned byte for byte. Others are made to
    fit where a person would not mind: alpha on white, EXIF rotation applied, metadata dropped, sides at most
    `REFIT_SIDE`, JPEG where a lossless file would be too large.

    Raises:
        NotAnImageError: The bytes are not a supported image.
        UnfitImageError: The image is too small or too narrow.
    """
    info = inspect(data)
    _check_shape(info)
    with open_image(data) as image:
        fits = (
            info.mime_type in WIRE_TYPES
            and max(image.size) <= MAX_WIRE_SIDE
            and len(data) <= max_bytes
            and not has_alpha(image)
            and has_only_pixels(data, info.mime_type)
        )
        if fits:
            load_pixels(image)  # a header may promise pixels that are not there
            return data, info.mime_type
    return _refitted(data, lossless=info.mime_type != "image/jpeg", max_bytes=max_bytes)


def as_named(data: bytes, suffix: str) -> bytes:
    """Return an image in the format that a file name's ending asks for; as it is where it asks for none."""
    endings = {FORMATS[kind][1]: kind for kind in OPENED} | {".jpeg": "JPEG"}
    kind = endings.get(suffix.lower())
    if kind is None or FORMATS[kind][0] == inspect(data).mime_type:
        return data
    with decode_image(data) as image:
        out = io.BytesIO()
        (image.convert("RGB") if kind in {"JPEG", "BMP"} else image).save(out, kind)
    return out.getvalue()


def encode_png(image: Image.Image) -> bytes:
    """Return a Pillow image as PNG bytes."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _check_shape(info: ImageInfo) -> None:
    short, long = sorted((info.width, info.height))
    if short < MIN_WIRE_SIDE:
        raise UnfitImageError(f"each side must have at least {MIN_WIRE_SIDE} pixels")
    if long > MAX_WIRE_RATIO * short:
        raise UnfitImageError(f"the longer side may be at most {MAX_WIRE_RATIO} times the shorter one")


def _refitted(data: bytes, *, lossless: bool, max_bytes: int) -> tuple[bytes, str]:
    from PIL import Image

    with decode_image(data, REFIT_SIDE) as image:
        profile = image.info.get("icc_profile")  # colour, not a fact about the person
        if has_alpha(image):
            rgba = image.convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        else:
            flat = image.convert("RGB")
    flat.info = {}
    if lossless:
        out = io.BytesIO()
        flat.save(out, "PNG", icc_profile=profile, compress_level=1)
        if out.tell() <= max_bytes:
            return out.getvalue(), "image/png"
    for side in (REFIT_SIDE, REFIT_SIDE // 2, MIN_WIRE_SIDE * 2):
        flat.thumbnail((side, side))
        if min(flat.size) < MIN_WIRE_SIDE:
            break
        for quality in (JPEG_QUALITY, 80, 60):
            out = io.BytesIO()
            flat.save(out, "JPEG", quality=quality, icc_profile=profile)
            if out.tell() <= max_bytes:
                return out.getvalue(), "image/jpeg"
    raise UnfitImageError("it can't be made small enough to be sent")
