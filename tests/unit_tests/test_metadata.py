"""What stands in an image file beside its pixels."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from langchain_wan._media.containers import SEARCHED
from langchain_wan._media.metadata import has_only_pixels
from langchain_wan._media.structure import is_complete_jpeg
from tests.support.images import encode, png_chunk

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def file(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    noise = random.Random(1).randbytes(256 * 250)
    return encode(Image.frombytes("L", (256, 250), noise).convert(mode), kind, **options)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


PLAIN = {
    "PNG": ("image/png", file("PNG")),
    "grey PNG": ("image/png", file("PNG", "L")),
    "PNG of a palette": ("image/png", file("PNG", "P")),
    "PNG with a resolution": ("image/png", file("PNG", dpi=(72, 72))),
    "PNG with a colour profile": ("image/png", file("PNG", icc_profile=PROFILE)),
    "JPEG": ("image/jpeg", file("JPEG")),
    "grey JPEG": ("image/jpeg", file("JPEG", "L")),
    "JPEG of four inks": ("image/jpeg", file("JPEG", "CMYK")),
    "progressive JPEG": ("image/jpeg", file("JPEG", progressive=True, quality=95)),
    "optimised JPEG": ("image/jpeg", file("JPEG", optimize=True)),
    "JPEG with restarts": ("image/jpeg", file("JPEG", restart_marker_blocks=2)),
    "JPEG with a colour profile": ("image/jpeg", file("JPEG", icc_profile=PROFILE)),
    "JPEG with a profile in parts": ("image/jpeg", file("JPEG", icc_profile=PROFILE + b"\0" * 150_000)),
    "WebP": ("image/webp", file("WEBP")),
    "lossless WebP": ("image/webp", file("WEBP", lossless=True)),
    "WebP with a colour profile": ("image/webp", file("WEBP", icc_profile=PROFILE)),
    "BMP": ("image/bmp", file("BMP")),
    "BMP of a palette": ("image/bmp", file("BMP", "P")),
}
HEAD = {"image/png": 33, "image/jpeg": 2}


@pytest.mark.parametrize("name", PLAIN)
def test_a_picture_and_its_colour_profile_are_only_pixels(name: str) -> None:
    mime_type, data = PLAIN[name]
    assert has_only_pixels(data, mime_type)


@pytest.mark.parametrize("name", PLAIN)
def test_a_byte_behind_the_picture_is_more_than_pixels(name: str) -> None:
    mime_type, data = PLAIN[name]
    assert not has_only_pixels(data + b"\x00", mime_type)
    assert not has_only_pixels(data + data, mime_type)


@pytest.mark.parametrize("name", PLAIN)
def test_a_picture_that_is_cut_off_is_never_only_pixels(name: str) -> None:
    mime_type, data = PLAIN[name]
    assert not any(has_only_pixels(data[:cut], mime_type) for cut in range(0, len(data), max(1, len(data) // 200)))


@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"acTL", b"prVt", b"iDOT"])
def test_any_other_chunk_of_a_png_is_metadata_before_and_behind_the_pixels(kind: bytes) -> None:
    data, extra = PLAIN["PNG"][1], png_chunk(kind, b"k\x00v")
    assert not has_only_pixels(data[:33] + extra + data[33:], "image/png")
    assert not has_only_pixels(data[:-12] + extra + data[-12:], "image/png")


@pytest.mark.parametrize("marker", [0xE1, 0xE3, 0xE4, 0xE5, 0xEB, 0xEC, 0xED, 0xEF, 0xFE])
def test_any_application_segment_or_comment_of_a_jpeg_is_metadata(marker: int) -> None:
    data = PLAIN["JPEG"][1]
    assert not has_only_pixels(data[:2] + segment(marker, b"JFIF\x00Adobe") + data[2:], "image/jpeg")
    assert not has_only_pixels(data[:20] + segment(marker, b"JFIF\x00Adobe") + data[20:], "image/jpeg")


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE0, b"JFXX\x00\x10" + b"\xff\xd8 a thumbnail \xff\xd9"),
        segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x01\x01\x00\x00\x00"),
        segment(0xE2, b"MPF\x00"),
        segment(0xE2, b"FPXR\x00"),
        segment(0xEE, b"Adobes own notes on the person"),
        segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00 and more"),
    ],
)
def test_a_segment_for_colours_that_holds_something_else_is_metadata(extra: bytes) -> None:
    data = PLAIN["JPEG"][1]
    assert not has_only_pixels(data[:2] + extra + data[2:], "image/jpeg")


def test_what_stands_between_two_segments_is_metadata() -> None:
    data = PLAIN["JPEG"][1]
    assert not has_only_pixels(data[:20] + b"Jane Doe" + data[20:], "image/jpeg")


def test_fill_bytes_before_a_marker_are_no_metadata() -> None:
    data = PLAIN["JPEG"][1]
    assert has_only_pixels(data[:2] + b"\xff\xff\xff" + data[2:], "image/jpeg")


@pytest.mark.parametrize("extra", ["exif", "xmp"])
def test_metadata_of_a_webp_is_seen(extra: str) -> None:
    options: dict[str, Any] = {extra: b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"}
    assert not has_only_pixels(file("WEBP", **options), "image/webp")


@pytest.mark.parametrize("mime_type", ["image/gif", "image/tiff", "", "text/html"])
def test_other_types_are_never_only_pixels(mime_type: str) -> None:
    assert not has_only_pixels(file("GIF"), mime_type)


@pytest.mark.parametrize("name", [name for name in PLAIN if "JPEG" in name])
def test_a_whole_jpeg_is_told_from_one_that_is_cut(name: str) -> None:
    data = PLAIN[name][1]
    assert is_complete_jpeg(data)
    assert is_complete_jpeg(data + b"a film" * 1_000)
    assert not any(is_complete_jpeg(data[:cut]) for cut in range(0, len(data), 97))
    assert not is_complete_jpeg(data[:-1])


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture() -> None:
    data = PLAIN["JPEG"][1]
    whole = data[:2] + segment(0xE1, b"Exif\x00\x00" + data[:20_000] + b"\xff\xd9") + data[2:]
    assert is_complete_jpeg(whole)
    assert not is_complete_jpeg(whole[:30_000])


@given(st.binary(max_size=80), st.sampled_from(("image/png", "image/jpeg", "image/webp", "image/bmp")))
def test_random_bytes_are_never_only_pixels(data: bytes, mime_type: str) -> None:
    assert not has_only_pixels(data, mime_type)
    assert not is_complete_jpeg(b"\x00" + data.replace(b"\xff", b""))


@pytest.mark.parametrize("name", PLAIN)
def test_damage_is_judged_without_an_error(name: str) -> None:
    mime_type, whole = PLAIN[name]
    chance = random.Random(name)
    for _ in range(100):
        data = bytearray(whole)
        data[chance.randrange(min(len(data), chance.choice((40, 10**9))))] ^= 1 << chance.randrange(8)
        has_only_pixels(bytes(data), mime_type)
        is_complete_jpeg(bytes(data))


@pytest.mark.parametrize("fill", [b"\x00", b"\xff", b"\xff\x00", b"\xff\xd0"])
@pytest.mark.parametrize("before", [SEARCHED - 3, SEARCHED - 2, SEARCHED - 1, SEARCHED, SEARCHED + 1, 2 * SEARCHED])
def test_an_end_that_two_windows_share_is_found(before: int, fill: bytes) -> None:
    scan = (fill * before)[:before]
    start = b"\xff\xd8\xff\xda\x00\x04\x00\x00"
    for end in (b"\xff\xd9", b"\xff\xff\xff\xd9"):
        assert is_complete_jpeg(start + scan + end)
    assert not is_complete_jpeg(start + scan + b"\xff")
