"""Colours: every ICC profile becomes sRGB, and is then dropped.

A profile is also metadata: that of a screen can name its owner's monitor, down to the serial number.
"""

from __future__ import annotations

import io
import re
import struct
from typing import TYPE_CHECKING

from langchain_wan._media.profiles import build_srgb

if TYPE_CHECKING:
    from PIL import Image

# What text a profile may hold and still be only the colours of sRGB: descriptions and notices of those in wide use.
_PLAIN_TEXTS = re.compile(
    r"sRGB(?: IEC61966-2[.-]1)?(?: black scaled)?|sRGB built-in|sRGB2014|sRGB_parametric|GIMP built-in sRGB|"
    r"c2|c2ci|uRGB|"
    r"sRGB[ _]v4[ _]ICC[ _]preference(?:\.icc)?|IEC http://www\.iec\.ch|"
    r"IEC 61966-2[.-]1 Default RGB colour space - sRGB|Reference Viewing Condition in IEC ?61966-2[.-]1|"
    r"No copyright, use freely\.?|Copyright \(c\) 1998 Hewlett-Packard Company|FB|CC0|Public Domain|GIMP|"
    r"Google Inc\. \d{4}|Google/Skia/[0-9A-F]{32}|Copyright Apple Inc\., \d{4}|"
    r"Copyright International Color Consortium, \d{4}|Copyright \d{4} International Color Consortium"
)
_TEXT_TYPES, _NUMBER_TYPES = (
    frozenset({b"text", b"desc", b"mluc"}),
    frozenset({b"XYZ ", b"curv", b"para", b"sf32", b"sig ", b"view", b"meas", b"chrm", b"mft1", b"mft2"}),
)
_TAG_TABLE = 128  # offset
_GRID = range(0, 256, 51)
_NEAR = 2  # levels that rounding may cost


def is_plain_srgb(profile: bytes) -> bool:
    """Say whether a profile is sRGB and nothing else: no other text, no unknown tag, no hidden bytes."""
    return _holds_only_srgb_words(profile) and _shows_like_srgb(profile)


def _holds_only_srgb_words(profile: bytes) -> bool:
    count = int.from_bytes(profile[128:132], "big")
    end = _TAG_TABLE + 4 + 12 * count
    if count > 64 or len(profile) < end:  # noqa: PLR2004  no profile has so many tags
        return False
    spans = set()
    for index in range(count):
        offset, length = struct.unpack(">II", profile[_TAG_TABLE + 8 + 12 * index :][:8])
        spans.add((offset, length))
    for offset, length in sorted(spans):
        body = profile[offset : offset + length]
        if not end <= offset <= end + 3 or profile[end:offset].strip(b"\0") or not _is_plain_tag(body):
            return False
        end = offset + length
    return len(profile) - end <= 3 and not profile[end:].strip(b"\0")  # noqa: PLR2004  aligned to four


def _is_plain_tag(body: bytes) -> bool:
    if body[:4] in _NUMBER_TYPES:
        return True
    if body[:4] not in _TEXT_TYPES:
        return False
    if body[:4] == b"mluc":
        count = int.from_bytes(body[8:12], "big")
        if count > len(body) // 12:
            return False
        texts = [_read_record(body, 16 + 12 * index) for index in range(count)]
    elif body[:4] == b"text":
        texts = [body[8:].decode("latin-1")]
    else:  # in ASCII, then perhaps once more in UTF-16 and in the script code of old Macs
        length = int.from_bytes(body[8:12], "big")
        rest = body[12 + length :]
        wide = int.from_bytes(rest[4:8], "big")
        texts = [body[12 : 12 + length].decode("latin-1"), rest[8 : 8 + 2 * wide].decode("utf-16-be", "replace")]
        script = rest[8 + 2 * wide + 3 :]
        texts.append(script.decode("latin-1"))
    cleaned = (text.strip("\0 \n") for text in texts)
    return all(not text or _PLAIN_TEXTS.fullmatch(text) for text in cleaned)


def _read_record(body: bytes, offset: int) -> str:
    length, start = struct.unpack(">II", body[offset + 4 : offset + 12].ljust(8, b"\0"))
    return body[start : start + length].decode("utf-16-be", "replace")


def _shows_like_srgb(profile: bytes) -> bool:
    from PIL import Image

    colours = bytes(value for red in _GRID for green in _GRID for blue in _GRID for value in (red, green, blue))
    grid = Image.frombytes("RGB", (len(colours) // 3, 1), colours)
    converted = convert_to_srgb(grid, profile)
    pairs = zip(converted.tobytes(), colours, strict=True)
    return converted is not grid and all(abs(after - before) <= _NEAR for after, before in pairs)


def convert_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return an image of mode L, LA, RGB, RGBA or CMYK in sRGB; the same image where the profile can't be used."""
    space = {"L": b"GRAY", "LA": b"GRAY", "RGB": b"RGB ", "RGBA": b"RGB ", "CMYK": b"CMYK"}[image.mode]
    if space == b"GRAY" and profile[16:20] == b"RGB ":  # as the chunks of a PNG say it, also of grey
        return convert_to_srgb(image.convert("RGB" if image.mode == "L" else "RGBA"), profile)
    if profile[16:20] != space:  # what was meant for other pixels says nothing of these
        return image
    try:
        from PIL import ImageCms
    except ImportError:  # a Pillow that was built without it
        return image
    mode = {"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode)
    try:
        source, target = (
            ImageCms.ImageCmsProfile(io.BytesIO(_hide_programs(profile))),
            ImageCms.ImageCmsProfile(io.BytesIO(build_srgb())),
        )
        transform = ImageCms.buildTransform(source, target, mode, "RGB")
        colours = ImageCms.applyTransform(image if mode == image.mode else image.convert(mode), transform) or image
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):  # browsers show the numbers of a broken profile too
        return image
    if mode != image.mode:
        colours.putalpha(image.getchannel("A"))
    return colours


def _hide_programs(profile: bytes) -> bytes:
    """Return a profile without its tags D2B0 to D2B3.

    Each is a list of operations without a limit, which no browser runs: 16 MB of them take minutes.
    """
    table = bytearray(profile)
    count = min(int.from_bytes(profile[_TAG_TABLE : _TAG_TABLE + 4], "big"), _MAX_TAGS)
    for offset in range(_TAG_TABLE + 4, _TAG_TABLE + 4 + 12 * count, 12):
        if table[offset : offset + 3] == b"D2B":
            table[offset] = ord("x")
    return bytes(table)


_MAX_TAGS = 100  # which Little CMS reads
