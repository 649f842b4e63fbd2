"""Ids of images: short, and derived from the bytes."""

from __future__ import annotations

import re

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTHS = (13, 26, 52)  # characters: 65, 130 and all 256 bits
ID_PATTERN = "img_[0-9a-hjkmnp-tv-z]{13}(?:[0-9a-hjkmnp-tv-z]{13}(?:[0-9a-hjkmnp-tv-z]{26})?)?"
IMAGE_ID = re.compile(ID_PATTERN)


def image_ids(sha256: str) -> tuple[str, ...]:
    """Return the ids that an image can have, the shortest first: `img_` and its SHA-256 in Crockford base32.

    Two images with one short id can be made in minutes; the second of them in a store has a longer one.

    >>> image_ids("00" * 32)[:2]
    ('img_0000000000000', 'img_00000000000000000000000000')
    """
    digits = _encode(sha256)
    return tuple(f"img_{digits[:length]}" for length in _LENGTHS)


def _encode(sha256: str) -> str:
    number = int(sha256, 16) << 4  # 260 bits: 52 characters
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(255, -1, -5))


def image_id(sha256: str) -> str:
    """Return the short id of an image.

    >>> image_id("00" * 32)
    'img_0000000000000'
    """
    return image_ids(sha256)[0]


def belongs_to(name: str, sha256: str) -> bool:
    """Say whether an image with this digest can have this id."""
    return name in image_ids(sha256)
