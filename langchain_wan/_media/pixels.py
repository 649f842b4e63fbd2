"""Pixels of every mode as L, LA, RGB, RGBA or CMYK with 8 bits, turned upright, flattened and made smaller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from langchain_wan._media import bands
from langchain_wan._media.formats import NotAnImageError

if TYPE_CHECKING:
    from PIL import Image

SIMPLE_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_WHITE = 255
_BITS_16 = 65_535


def has_alpha(image: Image.Image) -> bool:
    """Say whether a Pillow image can have transparent pixels."""
    return image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info


def is_transparent(image: Image.Image) -> bool:
    """Say whether a simple image has a pixel that is not opaque."""
    return image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema() != (_WHITE, _WHITE)


def simplify(image: Image.Image, *, depth: int = 8) -> Image.Image:
    """Return an image in one of the `SIMPLE_MODES`; the same image where it is in one.

    Args:
        depth: Bits of a sample in its file.

    Raises:
        NotAnImageError: What its numbers mean can't be known.
    """
    transparent = image.info.get("transparency")
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        return _simplify_numbers(image, transparent, is_wide=depth == 16 or image.mode != "I")  # noqa: PLR2004  bits
    if image.mode == "1":
        image = image.convert("L")
        image.info.pop("transparency", None)
    if image.mode == "P":
        palette = image.palette
        is_clear = transparent is not None or (palette is not None and palette.mode == "RGBA")
        return image.convert("RGBA" if is_clear else "RGB")
    if image.mode == "LAB":
        return _convert_lab(image)
    mode = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(image.mode)
    if image.mode not in SIMPLE_MODES:
        return image.convert(mode or "RGB")
    return image if transparent is None else _clear(image, transparent)


def _clear(image: Image.Image, transparent: object) -> Image.Image:
    """Make the colour that a PNG names as transparent so; Pillow knows it by its 8 bits."""
    from PIL import ImageChops

    if image.mode == "L" and isinstance(transparent, int):
        colour: tuple[int, ...] = (transparent,)
    elif image.mode == "RGB" and isinstance(transparent, tuple) and len(transparent) == 3:  # noqa: PLR2004  channels
        colour = tuple(value >> 8 if max(transparent) > _WHITE else value for value in transparent)
    else:
        return image
    masks = [
        band.point([0 if value == level else _WHITE for value in range(256)])
        for band, level in zip(image.split(), colour, strict=True)
    ]
    alpha = masks[0]
    for mask in masks[1:]:
        alpha = ImageChops.lighter(alpha, mask)
    image = image.copy()
    image.info.pop("transparency", None)
    image.putalpha(alpha)
    return image


def _simplify_numbers(image: Image.Image, transparent: object, *, is_wide: bool) -> Image.Image:
    """Return an image of 16-bit, 32-bit or floating numbers in 256 greys."""
    numbers = image if image.mode in {"I", "F"} else image.convert("I")
    low, high = (float(value) for value in numbers.getextrema())  # type: ignore[arg-type]  # one channel: two numbers
    most = _BITS_16 if is_wide else _WHITE
    if image.mode == "F":
        most = 1 if high <= 1 else _WHITE  # as scikit-image and OpenCV write them
    elif image.mode == "I" and high > _WHITE:
        most = _BITS_16
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > most:
        text = f"its pixels are numbers from {low:g} to {high:g} (mode {image.mode})"
        raise NotAnImageError(text, remedy='Scale them to 0..255 and convert the image to "L".')
    if image.mode == "F":
        return image.point(lambda value: value * (_WHITE / most) + 0.5).convert("L")
    if most == _WHITE:
        return numbers.convert("L")
    grey = numbers.point([(value * _WHITE + _BITS_16 // 2) // _BITS_16 for value in range(_BITS_16 + 1)], "L")
    if isinstance(transparent, int):
        grey.putalpha(numbers.point([0 if value == transparent else _WHITE for value in range(_BITS_16 + 1)], "L"))
    return grey


def _convert_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return ImageCms.applyTransform(image, transform) or image


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Apply an EXIF orientation."""
    from PIL import Image

    steps = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(steps[orientation]) if orientation in steps else image


def flatten(image: Image.Image) -> Image.Image:
    """Return a simple image on white, without alpha; the same image where it has none."""
    if image.mode not in {"LA", "RGBA"}:
        return image
    if image.width * image.height > bands.LARGE:
        return bands.join_bands(bands.cut_bands(image, 1), image.size, 1, _flatten)
    return _flatten(image)


def _flatten(image: Image.Image) -> Image.Image:
    from PIL import Image

    mode = image.mode[:-1]
    flat = Image.new(mode, image.size, "white")
    flat.paste(image.convert(mode), mask=image.getchannel("A"))
    return flat


def find_step(size: tuple[int, int], max_side: int | None) -> int:
    """Return the whole number by which a large image is made smaller first, in bands; 1 where it is not."""
    if max_side is None or size[0] * size[1] <= bands.LARGE:
        return 1
    return max(1, int(max(size) / max_side / 1.5))  # the rest is left for a better filter


def shrink(image: Image.Image, max_side: int | None) -> Image.Image:
    """Return a simple image of at most `max_side` pixels a side; the same image where it is so already."""
    if max_side is None or max(image.size) <= max_side:
        return image
    step = find_step(image.size, max_side)
    if step > 1:
        image = bands.join_bands(bands.cut_bands(image, step), image.size, step, lambda band: band)
    smaller = image.copy() if step == 1 else image  # it may be the caller's own
    smaller.thumbnail((max_side, max_side))
    return smaller
