"""Ids of images: short, and derived from the bytes."""

from __future__ import annotations

import re

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
IMAGE_ID = re.compile(r"img_[0-9a-hjkmnp-tv-z]{13}")


def image_id(sha256: str) -> str:
    """Return the id of an image: `img_` and the first 65 bits of its SHA-256 in Crockford base32.

    >>> image_id("00" * 32)
    'img_0000000000000'
    """
    number = int(sha256, 16) >> (256 - 65)
    return "img_" + "".join(CROCKFORD[number >> shift & 31] for shift in range(60, -1, -5))
