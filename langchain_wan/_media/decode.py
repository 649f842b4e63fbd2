"""What image bytes are: type, size, thumbnail, and the form in which a reference may be sent.

Bytes decide, never a file name or a label. The header is read and checked against the caps before any pixel
is decoded. Pillow is imported when a function is called, so that importing the package stays cheap.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from langchain_wan._media.formats import FORMATS, OPENED, ImageInfo, NotAnImageError
from langchain_wan._media.metadata import is_complete_jpeg

if TYPE_CHECKING:
    from PIL import Image

MAX_SIDE = 16_384
MAX_PIXELS = 50_000_000  # a 48-megapixel phone photograph; in memory, a pixel takes four bytes
# Large, and packed tighter than any camera packs: a bomb of 200 kB that unpacks to 200 MB.
LARGE, PACKED = 20_000_000, 100  # pixels; pixels a byte


def inspect(data: bytes) -> ImageInfo:
    """Read type and size from the header, within the caps, and verify the file's structure.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    with open_image(data) as image:
        info = ImageInfo(FORMATS[str(image.format)][0], image.width, image.height)
        try:
            image.verify()
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise NotAnImageError("the image is damaged or cut off") from error
    if info.mime_type == "image/jpeg" and not is_complete_jpeg(data):
        raise NotAnImageError("the image is damaged or cut off")  # verify() does not look at a JPEG's end
    return info


def decode_image(data: bytes, max_side: int | None = None) -> Image.Image:
    """Decode to a Pillow image, EXIF rotation applied; JPEGs are decoded at reduced scale where that is enough.

    Raises:
        NotAnImageError: The bytes are not a supported image, are damaged or too large.
    """
    from PIL import ImageOps

    with open_image(data) as image:
        if max_side is not None:
            image.draft("RGB", (max_side, max_side))
        load_pixels(image)
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):  # 16 bits a pixel, whose upper half is what a screen shows
        upright = upright.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if upright.mode not in {"RGB", "RGBA", "L", "LA"}:
        upright = upright.convert("RGBA" if has_alpha(upright) else "RGB")
    if max_side is not None:
        upright.thumbnail((max_side, max_side))
    return upright


def has_alpha(image: Image.Image) -> bool:
    """Say whether a Pillow image can hold transparent pixels."""
    return image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info


def open_image(data: bytes) -> Image.Image:
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


def load_pixels(image: Image.Image) -> None:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise NotAnImageError("the image is damaged or cut off") from error
