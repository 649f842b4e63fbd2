"""What image bytes are: type, size, thumbnail, and the form in which a reference may be sent.

Bytes decide, never a file name or a label. The header is read and checked against the caps before any pixel
is decoded. Pillow is imported when a function is called, so that importing the package stays cheap.
"""

from __future__ import annotations

import binascii
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_wan._large_json import Span
from langchain_wan._metadata import jpeg_is_whole, only_pixels

if TYPE_CHECKING:
    from PIL import Image

# EPS, PDF and the like reach interpreters, TIFF a large decoder: only these are ever opened.
FORMATS = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "MPO": ("image/jpeg", ".jpg"),  # a JPEG with a second picture behind it, as many phones write
    "WEBP": ("image/webp", ".webp"),
    "BMP": ("image/bmp", ".bmp"),
    "GIF": ("image/gif", ".gif"),
}
OPENED = tuple(name for name in FORMATS if name != "MPO")  # which Pillow finds out when it opens a JPEG
EXTENSIONS = dict(FORMATS.values())
MAX_SIDE = 16_384
MAX_PIXELS = 50_000_000  # a 48-megapixel phone photograph; in memory, a pixel takes four bytes
# Large, and packed tighter than any camera packs: a bomb of 200 kB that unpacks to 200 MB.
LARGE, PACKED = 20_000_000, 100  # pixels; pixels a byte

# Source: https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference (2026-05-30):
# JPEG, PNG without alpha, BMP, WEBP; each side 240..8000 px; ratio 1:8..8:1; 20 MB.
WIRE_TYPES = frozenset({"image/jpeg", "image/png", "image/bmp", "image/webp"})
MIN_WIRE_SIDE, MAX_WIRE_SIDE = 240, 8000
MAX_WIRE_RATIO = 8
# Alibaba advises raw files below 7 MB, so that the data URI stays below its 10 MB cap (same pages).
MAX_WIRE_BYTES = 7_000_000
REFIT_SIDE = 2048
MAX_FILE_BYTES = 64 * 2**20  # what is read of one image at all
BASE64_SLICE = 2**20  # characters, a multiple of four: one big call holds the interpreter lock for 40 ms
JPEG_QUALITY = 92

_DATA_URI_HEAD = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64", re.IGNORECASE)


class NotAnImageError(ValueError):
    """The bytes are no image that is supported; the text says why, without quoting them."""


class UnfitImageError(ValueError):
    """The image breaks a rule of the service that can't be mended without changing the picture."""


@dataclass(frozen=True)
class Picture:
    """What the header of an image says; `width` and `height` in pixels, as stored in the file."""

    mime_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        """The file name ending with its dot, such as `.png`."""
        return EXTENSIONS[self.mime_type]


def inspect(data: bytes) -> Picture:
    """Read type and size from the header, within the caps, and verify the file's structure.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    with _opened(data) as image:
        found = Picture(FORMATS[str(image.format)][0], image.width, image.height)
        try:
            image.verify()
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise NotAnImageError("the image is damaged or cut off") from error
    if found.mime_type == "image/jpeg" and not jpeg_is_whole(data):
        raise NotAnImageError("the image is damaged or cut off")  # verify() does not look at a JPEG's end
    return found


def thumbnail(data: bytes, max_side: int) -> bytes:
    """Return a PNG of at most `max_side` pixels a side, upright and without metadata."""
    with decoded(data, max_side) as image:
        out = io.BytesIO()
        image.save(out, "PNG")
    return out.getvalue()


def preview(data: bytes, max_side: int) -> tuple[bytes, str]:
    """Return a small picture for a vision model and its MIME type: a JPEG, a tenth of a PNG, unless it has alpha."""
    with decoded(data, max_side) as image:
        kind, mime_type = ("PNG", "image/png") if has_alpha(image) else ("JPEG", "image/jpeg")
        out = io.BytesIO()
        image.save(out, kind, quality=JPEG_QUALITY)
    return out.getvalue(), mime_type


def decoded(data: bytes, max_side: int | None = None) -> Image.Image:
    """Decode to a Pillow image, EXIF rotation applied; JPEGs are decoded at reduced scale where that is enough.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    from PIL import ImageOps

    with _opened(data) as image:
        if max_side is not None:
            image.draft("RGB", (max_side, max_side))
        _load(image)
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # 16 bits a pixel, whose upper half is what a screen shows
        upright = upright.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if upright.mode not in {"RGB", "RGBA", "L", "LA"}:
        upright = upright.convert("RGBA" if has_alpha(upright) else "RGB")
    if max_side is not None:
        upright.thumbnail((max_side, max_side))
    return upright


def wire_form(data: bytes, *, max_bytes: int = MAX_WIRE_BYTES) -> tuple[bytes, str]:
    """Return the bytes and MIME type in which a reference may be sent.

    An image that fits the service's rules and holds no metadata is returned byte for byte. Others are made to
    fit where a person would not mind: alpha on white, EXIF rotation applied, metadata dropped, sides at most
    `REFIT_SIDE`, JPEG where a lossless file would be too large.

    Raises:
        NotAnImageError: The bytes are not a supported image.
        UnfitImageError: The picture is too small or too narrow.
    """
    picture = inspect(data)
    _check_shape(picture)
    with _opened(data) as image:
        fits = (
            picture.mime_type in WIRE_TYPES
            and max(image.size) <= MAX_WIRE_SIDE
            and len(data) <= max_bytes
            and not has_alpha(image)
            and only_pixels(data, picture.mime_type)
        )
        if fits:
            _load(image)  # a header may promise pixels that are not there
            return data, picture.mime_type
    return _refitted(data, lossless=picture.mime_type != "image/jpeg", max_bytes=max_bytes)


def data_uri_bytes(text: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a base64 data URI of an image.

    Raises:
        NotAnImageError: It is not one, or its bytes are more than `max_bytes`.
    """
    head, comma, body = text.partition(",")
    if not comma or not _DATA_URI_HEAD.fullmatch(head):
        raise NotAnImageError("not a base64 data URI of an image")
    if len(body) > max_bytes * 4 // 3 + 4:
        raise NotAnImageError("the data URI is too long")
    return base64_bytes(body)


def image_text_bytes(text: str) -> bytes:
    """Return the bytes of an image that a service sent as text: bare base64, or a data URI with any label.

    Raises:
        NotAnImageError: It is not base64.
    """
    if isinstance(text, Span):
        return _span_bytes(text)
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    if "\n" in text or " " in text:
        text = "".join(text.split())
    return base64_bytes(text)


def _span_bytes(text: Span) -> bytes:
    start = text.start + (text.find(",") + 1 if text[:5].lower() == "data:" else 0)
    if text.body.find(b"=", start, text.end - 2) >= 0:
        raise NotAnImageError("not valid base64")
    decoded = io.BytesIO()  # grows in place, and gives its bytes away without a copy
    whole = memoryview(text.body)
    try:
        for place in range(start, text.end, BASE64_SLICE):
            decoded.write(binascii.a2b_base64(whole[place : min(text.end, place + BASE64_SLICE)], strict_mode=True))
    except ValueError:  # perhaps only broken into lines
        return base64_bytes("".join(str(whole[start : text.end], "ascii", "replace").split()))
    return decoded.getvalue()


def base64_bytes(text: str) -> bytes:
    """Decode base64 strictly, in slices that keep the interpreter free for other threads.

    Raises:
        NotAnImageError: It is not base64.
    """
    if "=" in text[:-2]:  # in slices, padding between two of them would go unnoticed
        raise NotAnImageError("not valid base64")
    try:
        parts = (text[start : start + BASE64_SLICE] for start in range(0, len(text), BASE64_SLICE))
        return b"".join([binascii.a2b_base64(part, strict_mode=True) for part in parts])
    except (ValueError, UnicodeError) as error:
        raise NotAnImageError("not valid base64") from error


def as_named(data: bytes, suffix: str) -> bytes:
    """Return an image in the format that a file name's ending asks for; as it is where it asks for none."""
    endings = {FORMATS[kind][1]: kind for kind in OPENED} | {".jpeg": "JPEG"}
    kind = endings.get(suffix.lower())
    if kind is None or FORMATS[kind][0] == inspect(data).mime_type:
        return data
    with decoded(data) as image:
        out = io.BytesIO()
        (image.convert("RGB") if kind in {"JPEG", "BMP"} else image).save(out, kind)
    return out.getvalue()


def png_of(image: Image.Image) -> bytes:
    """Return a Pillow image as PNG bytes."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def has_alpha(image: Image.Image) -> bool:
    """Say whether a Pillow image can hold transparent pixels."""
    return image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info


def _opened(data: bytes) -> Image.Image:
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=OPENED)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NotAnImageError("the image has too many pixels") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise NotAnImageError("the bytes are not a PNG, JPEG, WebP, BMP or GIF image") from error
    pixels = image.width * image.height
    is_bomb = pixels > LARGE and pixels > PACKED * len(data)
    if max(image.size) > MAX_SIDE or pixels > MAX_PIXELS or min(image.size) < 1 or is_bomb:
        raise NotAnImageError("the image has too many pixels")
    return image


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise NotAnImageError("the image is damaged or cut off") from error


def _check_shape(picture: Picture) -> None:
    short, long = sorted((picture.width, picture.height))
    if short < MIN_WIRE_SIDE:
        raise UnfitImageError(f"each side has to be at least {MIN_WIRE_SIDE} pixels")
    if long > MAX_WIRE_RATIO * short:
        raise UnfitImageError(f"the longer side may be at most {MAX_WIRE_RATIO} times the shorter one")


def _refitted(data: bytes, *, lossless: bool, max_bytes: int) -> tuple[bytes, str]:
    from PIL import Image

    with decoded(data, REFIT_SIDE) as image:
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
