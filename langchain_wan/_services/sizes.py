"""What `size` means to a model: a ratio becomes the largest width and height that its rules allow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from langchain_wan.errors import InvalidImageRequestError

TIERS: Mapping[str, int] = {"1K": 1024, "2K": 2048, "4K": 4096}  # the side of a square with as many pixels
# Source: https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference (2026-05-30): at most
# 2048*2048 pixels, with wan2.7-image-pro and no input images 4096*4096; "the actual output can differ slightly".
LARGEST = 2048
LARGEST_FROM_TEXT: Mapping[str, int] = {"wan2.7-image-pro": 4096}
TOLERANCE = 0.05  # of a ratio

_RATIO = re.compile(r"(?:([124]K) )?([0-9]{1,2}):([0-9]{1,2})")
_PIXELS = re.compile(r"([0-9]{2,5})[*xX]([0-9]{2,5})")


def compute_size(size: str, model: str, *, has_images: bool) -> str:
    """Return a `size` as Wan takes it: a tier, or width*height in pixels.

    >>> compute_size("1K 16:9", "wan2.7-image", has_images=False)
    '1360*765'

    Args:
        size: A tier, a ratio, a tier and a ratio, or width and height.
        model: The model that gets it.
        has_images: Whether the request has input images.

    Raises:
        InvalidImageRequestError: The tier is larger than the model makes.
    """
    match = _RATIO.fullmatch(size)
    if match is None:
        return size.replace("x", "*").replace("X", "*")  # Alibaba writes 1280*720
    largest = LARGEST if has_images else LARGEST_FROM_TEXT.get(model, LARGEST)
    side = TIERS[match[1]] if match[1] else largest
    if side > largest:
        source = " from input images" if has_images else ""
        step = f"Use 2K {match[2]}:{match[3]} as the size."
        raise InvalidImageRequestError(f"{size!r} is larger than {model} makes{source}.", next_step=step, advice=step)
    wide, high = int(match[2]), int(match[3])
    wide, high = wide // math.gcd(wide, high), high // math.gcd(wide, high)
    unit = math.isqrt(side * side // (wide * high))
    return f"{wide * unit}*{high * unit}"


def describe_differences(size: str | None, images: Iterable[tuple[int, int]]) -> list[str]:
    """Return a sentence for each image whose ratio is not the one that was asked for.

    >>> describe_differences("16:9", [(1024, 1024)])
    ['Asked for 16:9, got 1024x1024: the service ignored `size`.']

    Args:
        size: As it was asked for; None and a tier ask for no ratio.
        images: Width and height of each image in pixels.
    """
    match = _PIXELS.fullmatch(size or "") or _RATIO.fullmatch(size or "")
    if match is None:
        return []
    wide, high = map(int, match.groups()[-2:])
    return [
        f"Asked for {size}, got {width}x{height}: the service ignored `size`."
        for width, height in images
        if abs(math.log(width / height * high / wide)) > TOLERANCE
    ]
