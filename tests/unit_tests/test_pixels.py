"""What image bytes are, and the form in which they may be sent."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from langchain_wan._media import data_uri
from langchain_wan._media import encode as encoding
from langchain_wan._media.data_uri import decode_base64, decode_data_uri, decode_image_text
from langchain_wan._media.decode import decode_image, inspect
from langchain_wan._media.encode import (
    MAX_WIRE_BYTES,
    REFIT_SIDE,
    encode_png,
    thumbnail,
)
from langchain_wan._media.formats import ImageInfo, NotAnImageError, UnfitImageError
from tests.support.images import PHOTOGRAPH, encode, png_chunk

SECRET = b"Jane Doe at home"
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 30), (30, 30, 220), (230, 220, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)  # upright: top left, top right, bottom left, bottom right
ORIENTATION, GPS, MAKER = 0x0112, 0x8825, 0x010F


def wire_form(data: bytes, **options: int) -> tuple[bytes, str]:
    """The bytes that are sent, and their type."""
    return encoding.wire_form(data, **options)[:2]


def plain(width: int, height: int, colour: Any = RED, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height), colour)


def quarters(width: int, height: int) -> Image.Image:
    """A picture whose four quarters differ, so that each turn and mirror image shows."""
    image = Image.new("RGB", (2, 2))
    image.putdata(CORNERS)
    return image.resize((width, height), Image.Resampling.NEAREST)


def noisy(width: int, height: int) -> Image.Image:
    """The four quarters under noise, so that the file is long; the same each time."""
    noise = Image.frombytes("RGB", (width, height), random.Random(5).randbytes(width * height * 3))
    return Image.blend(quarters(width, height), noise, 0.2)


def corners(image: Image.Image) -> tuple[Any, ...]:
    """Which of the four colours stands in each quarter."""
    rgb, (width, height) = image.convert("RGB"), image.size
    places = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    pixels = [rgb.getpixel(place) for place in places]

    def nearest(pixel: Any) -> Any:
        return min(CORNERS, key=lambda colour: sum((a - b) ** 2 for a, b in zip(colour, pixel, strict=True)))

    return tuple(nearest(pixel) for pixel in pixels)


def exif(**tags: Any) -> Image.Exif:
    found = Image.Exif()
    found[MAKER] = SECRET.decode()
    found[GPS] = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    for tag, value in tags.items():
        found[int(tag.removeprefix("tag"))] = value
    return found


def turned(image: Image.Image, orientation: int) -> bytes:
    """The JPEG that a camera writes which was held so that a viewer has to apply this orientation."""
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    for step in undo:
        image = image.transpose(step)
    return encode(image, "JPEG", exif=exif(tag274=orientation), quality=80)


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def png_with(late: bytes = b"", early: bytes = b"", image: Image.Image | None = None) -> bytes:
    """A PNG with chunks before its pixels or behind them."""
    data = encode_png(image or quarters(300, 300))
    end = data.index(b"IEND") - 4
    return data[:33] + early + data[33:end] + late + data[end:]


def jpeg_with(marker: int, payload: bytes) -> bytes:
    """A JPEG with one more segment."""
    data = encode(quarters(300, 300), "JPEG")
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload + data[2:]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# What bytes are


@pytest.mark.parametrize(
    ("kind", "mime_type", "extension"),
    [
        ("PNG", "image/png", ".png"),
        ("JPEG", "image/jpeg", ".jpg"),
        ("WEBP", "image/webp", ".webp"),
        ("BMP", "image/bmp", ".bmp"),
        ("GIF", "image/gif", ".gif"),
    ],
)
def test_type_and_size_are_read_from_the_bytes(kind: str, mime_type: str, extension: str) -> None:
    found = inspect(encode(quarters(320, 250), kind))
    assert found == ImageInfo(mime_type, 320, 250)
    assert found.extension == extension


def test_a_real_photograph_is_read() -> None:
    assert inspect(PHOTOGRAPH) == ImageInfo("image/jpeg", 512, 600)


def test_a_phones_double_picture_is_a_jpeg() -> None:
    data = encode(quarters(320, 250), "MPO", save_all=True, append_images=[plain(320, 250)])
    assert inspect(data) == ImageInfo("image/jpeg", 320, 250)


def test_the_size_is_that_of_the_file_before_it_is_turned() -> None:
    assert inspect(turned(quarters(400, 300), 6)) == ImageInfo("image/jpeg", 300, 400)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"hello",
        b"\x89PNG",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"BM",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='300' height='300'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n%%EndComments\n(%pipe%id) (w) file\n",
        b"%PDF-1.7\n1 0 obj\n",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b'{"error": "expired"}',
        b"PK\x03\x04",
        b"\x7fELF",
        b"P6\n1 1\n255\n\x00\x00\x00",
        b"II*\x00\x08\x00\x00\x00",
    ],
    ids=lambda data: repr(data[:16]),
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    for look in (inspect, decode_image, wire_form):
        with pytest.raises(NotAnImageError):
            look(data)


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "PCX", "TGA", "ICNS", "JPEG2000", "PDF", "EPS", "SGI"])
def test_formats_with_large_or_dangerous_decoders_are_never_opened(kind: str) -> None:
    data = encode(quarters(256, 256), kind)
    with pytest.raises(NotAnImageError):
        inspect(data)


def test_a_label_does_not_make_html_an_image() -> None:
    data = decode_data_uri("data:image/png;base64," + base64.b64encode(b"<html></html>").decode())
    with pytest.raises(NotAnImageError):
        inspect(data)


def test_a_refusal_quotes_nothing_of_the_bytes() -> None:
    with pytest.raises(NotAnImageError) as caught:
        inspect(SECRET * 100)
    assert SECRET.decode() not in str(caught.value)


# Damaged images


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_that_is_cut_off_anywhere_is_noticed(kind: str) -> None:
    whole = encode(noisy(256, 256), kind)
    inspect(whole)
    last = len(whole) - (30 if kind == "PNG" else 8)  # behind it, a PNG lacks checksums and its end, but no pixel
    cuts = [*range(0, 100, 7), *range(100, last, max(1, len(whole) // 60)), last - 12, last - 5, last]
    unnoticed = []
    for cut in cuts:
        try:
            inspect(whole[:cut])
        except NotAnImageError:
            continue
        unnoticed.append(cut)
    assert unnoticed == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_an_image_that_is_cut_off_is_never_sent_as_a_reference(kind: str, part: float) -> None:
    whole = encode(noisy(300, 300), kind)
    with pytest.raises(NotAnImageError):
        wire_form(whole[: int(len(whole) * part)])


def test_a_real_photograph_that_is_cut_off_is_noticed() -> None:
    for part in (0.1, 0.5, 0.9, 0.999):
        with pytest.raises(NotAnImageError):
            inspect(PHOTOGRAPH[: int(len(PHOTOGRAPH) * part)])


def test_a_cut_photograph_is_noticed_although_its_own_thumbnail_ends_properly() -> None:
    small = encode(quarters(160, 120), "JPEG")
    payload = b"Exif\x00\x00" + small
    whole = jpeg_with(0xE1, payload)
    inspect(whole)
    with pytest.raises(NotAnImageError):
        inspect(whole[: len(payload) + 500])


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(encode_png(quarters(256, 256)))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(NotAnImageError):
        inspect(bytes(data))


def test_pixels_that_are_no_pixels_are_refused_in_our_own_words() -> None:
    broken = png_header(300, 300) + png_chunk(b"IDAT", b"not compressed at all") + png_chunk(b"IEND", b"")
    for look in (decode_image, wire_form, lambda data: thumbnail(data, 64)):
        with pytest.raises(NotAnImageError):
            look(broken)


def test_a_moving_photograph_with_its_film_behind_it_is_read() -> None:
    film = b"\x00\x00\x00\x18ftypmp42" + random.Random(7).randbytes(50_000)
    assert inspect(PHOTOGRAPH + film) == ImageInfo("image/jpeg", 512, 600)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_damage_of_any_kind_is_told_in_our_own_words(kind: str) -> None:
    whole, chance = encode(noisy(250, 250), kind), random.Random(kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3, 20))):
            data[chance.randrange(min(len(data), chance.choice((64, 1_000, 10**9))))] = chance.randrange(256)
        for look in (inspect, decode_image, wire_form):
            try:
                look(bytes(data))
            except (NotAnImageError, UnfitImageError):
                continue


@given(st.binary(max_size=200), st.sampled_from((b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM")))
def test_any_bytes_are_an_image_or_an_error_of_ours(data: bytes, head: bytes) -> None:
    for look in (inspect, decode_image, wire_form):
        try:
            look(head + data)
        except (NotAnImageError, UnfitImageError):
            continue


# Caps


@pytest.mark.parametrize(
    "size",
    [(65_000, 65_000), (16_385, 10), (10, 16_385), (7_100, 7_100), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (0, 5)],
)
def test_a_header_that_claims_too_many_pixels_is_refused_before_any_is_decoded(size: tuple[int, int]) -> None:
    bomb = png_header(*size) + png_chunk(b"IDAT", zlib.compress(b"\x00" * 10)) + png_chunk(b"IEND", b"")
    for look in (inspect, decode_image, wire_form):
        with pytest.raises(NotAnImageError):
            look(bomb)


@pytest.mark.parametrize(
    "data",
    [
        b"GIF89a" + struct.pack("<HHBBB", 65_000, 65_000, 0, 0, 0) + b";",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 65_000, 65_000, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 6,
    ],
)
def test_other_headers_that_claim_too_many_pixels_are_refused(data: bytes) -> None:
    with pytest.raises(NotAnImageError):
        inspect(data)


@pytest.mark.parametrize("name", [b"k", b"Raw profile type exif", b"XML:com.adobe.xmp"])
def test_a_compressed_text_that_unpacks_to_megabytes_is_left_alone(name: bytes) -> None:
    bomb = png_with(early=png_chunk(b"zTXt", name + b"\x00\x00" + zlib.compress(b"a" * 100_000_000)))
    assert corners(opened(wire_form(bomb)[0])) == CORNERS


# Decoding and thumbnails


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_decoded_upright(orientation: int) -> None:
    image = decode_image(turned(quarters(400, 300), orientation))
    assert image.size == (400, 300)
    assert corners(image) == CORNERS


@pytest.mark.parametrize("orientation", [1, 6, 7])
def test_a_thumbnail_is_a_small_upright_png_without_metadata(orientation: int) -> None:
    data = thumbnail(turned(quarters(1_200, 900), orientation), 128)
    image = opened(data)
    assert image.format == "PNG"
    assert image.size == (128, 96)
    assert corners(image) == CORNERS
    assert not image.getexif()
    assert SECRET not in data


def test_a_small_picture_is_not_enlarged() -> None:
    assert opened(thumbnail(encode_png(quarters(100, 50)), 512)).size == (100, 50)


def test_a_thumbnail_of_the_real_photograph_keeps_its_shape() -> None:
    image = opened(thumbnail(PHOTOGRAPH, 300))
    assert image.size == (256, 300)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_can_be_shown(mode: str) -> None:
    kind = "JPEG" if mode in {"CMYK", "YCbCr"} else "PNG"
    data = encode(quarters(300, 260).convert(mode), kind)
    assert decode_image(data).mode in {"RGB", "RGBA", "L", "LA"}
    assert opened(thumbnail(data, 64)).size[0] == 64


def test_sixteen_bits_a_pixel_keep_their_brightness() -> None:
    data = encode(plain(300, 300, 32_768, "I;16"))
    (low, high) = decode_image(data).convert("L").getextrema()
    assert low == high
    assert isinstance(low, int | float)
    assert 120 <= low <= 135


def test_the_first_picture_of_a_film_is_shown() -> None:
    data = encode(quarters(300, 300), "GIF", save_all=True, append_images=[plain(300, 300, BLUE)])
    assert corners(decode_image(data)) == CORNERS


def test_transparency_survives_decoding() -> None:
    image = decode_image(encode(plain(300, 300, (255, 0, 0, 0), "RGBA")))
    assert image.mode == "RGBA"
    assert image.getpixel((5, 5)) == (255, 0, 0, 0)


def test_a_pillow_image_becomes_png_bytes_with_the_same_pixels() -> None:
    image = quarters(300, 200)
    assert opened(encode_png(image)).tobytes() == image.tobytes()


# The form in which a reference is sent


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.parametrize("size", [(240, 240), (1_920, 240), (300, 2_400), (2_500, 400)])
def test_what_fits_and_holds_no_metadata_is_sent_byte_for_byte(kind: str, size: tuple[int, int]) -> None:
    data = encode(quarters(*size), kind)
    assert wire_form(data) == (data, f"image/{kind.lower()}")


@pytest.mark.parametrize("mode_and_kind", [("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("L", "JPEG"), ("P", "BMP")])
def test_other_modes_without_alpha_are_sent_byte_for_byte(mode_and_kind: tuple[str, str]) -> None:
    mode, kind = mode_and_kind
    data = encode(quarters(300, 300).convert(mode), kind)
    assert wire_form(data)[0] == data


def test_a_colour_profile_is_no_metadata() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(quarters(300, 300), icc_profile=profile)
    assert wire_form(data)[0] == data


def test_the_real_photograph_loses_its_comment_and_nothing_else() -> None:
    data, mime_type = wire_form(PHOTOGRAPH)
    assert mime_type == "image/jpeg"
    assert data != PHOTOGRAPH
    image, before = opened(data), opened(PHOTOGRAPH)
    assert "comment" in before.info
    assert "comment" not in image.info
    assert image.size == before.size
    difference = sum(
        abs(a - b) for a, b in zip(image.resize((16, 16)).tobytes(), before.resize((16, 16)).tobytes(), strict=True)
    )
    assert difference / (16 * 16 * 3) < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_twelve_megapixel_photograph_is_sent_upright_small_and_without_its_place(orientation: int) -> None:
    picture = turned(quarters(4_032, 3_024), orientation)
    data, mime_type = wire_form(picture)
    image = opened(data)
    assert mime_type == "image/jpeg"
    assert image.size == (REFIT_SIDE, 1_536)
    assert corners(image) == CORNERS
    assert not image.getexif()
    assert SECRET not in data
    assert SECRET in picture


def test_a_portrait_stays_a_portrait() -> None:
    image = opened(wire_form(turned(quarters(600, 800), 6))[0])
    assert image.size == (600, 800)
    assert corners(image) == CORNERS


@pytest.mark.parametrize(
    "data",
    {
        "EXIF of a JPEG": encode(quarters(300, 300), "JPEG", exif=exif()),
        "EXIF of a PNG": encode(quarters(300, 300), exif=exif()),
        "EXIF of a WebP": encode(quarters(300, 300), "WEBP", exif=exif()),
        "EXIF behind the pixels of a PNG": png_with(
            late=png_chunk(b"eXIf", exif().tobytes().removeprefix(b"Exif\x00\x00"))
        ),
        "XMP of a JPEG": encode(quarters(300, 300), "JPEG", xmp=b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"),
        "XMP of a WebP": encode(quarters(300, 300), "WEBP", xmp=b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"),
        "XMP of a PNG": png_with(early=png_chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + SECRET)),
        "a comment of a JPEG": encode(quarters(300, 300), "JPEG", comment=SECRET),
        "a text of a PNG": png_with(early=png_chunk(b"tEXt", b"Author\x00" + SECRET)),
        "a text behind the pixels of a PNG": png_with(late=png_chunk(b"tEXt", b"Author\x00" + SECRET)),
        "a compressed text of a PNG": png_with(early=png_chunk(b"zTXt", b"Author\x00\x00" + zlib.compress(SECRET))),
        "IPTC of a JPEG": jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x10" + SECRET),
        "the second part of a long XMP": jpeg_with(0xE1, b"http://ns.adobe.com/xmp/extension/\x00" + SECRET),
        "an application's own segment": jpeg_with(0xEB, b"JP\x00\x01" + SECRET),
        "bytes behind a JPEG": encode(quarters(300, 300), "JPEG") + SECRET,
        "bytes behind a PNG": encode_png(quarters(300, 300)) + SECRET,
        "bytes behind a WebP": encode(quarters(300, 300), "WEBP") + SECRET,
        "bytes behind a BMP": encode(quarters(300, 300), "BMP") + SECRET,
        "the time in a PNG": png_with(late=png_chunk(b"tIME", SECRET[:7])),
        "an unknown chunk of a PNG": png_with(early=png_chunk(b"prVt", SECRET)),
        "a longer colour segment": jpeg_with(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00" + SECRET),
        "a second picture": encode(
            quarters(300, 300), "MPO", save_all=True, append_images=[plain(300, 300)], exif=exif()
        ),
    }.items(),
    ids=lambda item: item[0],
)
def test_nothing_about_the_person_behind_a_picture_is_sent(data: tuple[str, bytes]) -> None:
    sent, _ = wire_form(data[1])
    image = opened(sent)
    assert SECRET not in sent
    assert not image.getexif()
    assert not getattr(image, "text", {})
    assert corners(image) == CORNERS


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_what_is_transparent_becomes_white(kind: str) -> None:
    image = quarters(300, 300).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 150, 150))
    data, mime_type = wire_form(encode(image, kind, **({"lossless": True} if kind == "WEBP" else {})))
    flat = opened(data)
    assert mime_type == "image/png"
    assert flat.mode == "RGB"
    assert flat.getpixel((20, 20)) == (255, 255, 255)
    assert corners(flat)[1:] == CORNERS[1:]


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    flat = opened(wire_form(encode(plain(300, 300, (255, 0, 0, 128), "RGBA")))[0])
    pixel = flat.getpixel((5, 5))
    assert pixel in {(255, 127, 127), (255, 126, 126), (255, 128, 128)}


def test_a_transparent_colour_of_a_palette_becomes_white() -> None:
    image = quarters(300, 300).quantize(4)
    colour = image.getpixel((20, 20))
    flat = opened(wire_form(encode(image, transparency=colour))[0])
    assert flat.getpixel((20, 20)) == (255, 255, 255)
    assert corners(flat)[1:] == CORNERS[1:]


def test_grey_with_alpha_becomes_white_too() -> None:
    flat = opened(wire_form(encode(plain(300, 300, (10, 0), "LA")))[0])
    assert flat.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_a_gif_is_sent_as_a_png() -> None:
    data, mime_type = wire_form(encode(quarters(300, 300), "GIF"))
    assert mime_type == "image/png"
    assert corners(opened(data)) == CORNERS


def test_a_film_is_sent_as_its_first_picture() -> None:
    film = encode(quarters(300, 300), save_all=True, append_images=[plain(300, 300, BLUE)])
    data, _ = wire_form(film)
    assert getattr(opened(data), "n_frames", 1) == 1
    assert corners(opened(data)) == CORNERS


@pytest.mark.parametrize("size", [(8_001, 1_100), (1_100, 8_001), (9_000, 2_000)])
def test_a_side_beyond_the_limit_is_scaled_down(size: tuple[int, int]) -> None:
    data, _ = wire_form(encode(quarters(*size), "JPEG"))
    image = opened(data)
    assert max(image.size) == REFIT_SIDE
    assert image.size[0] / image.size[1] == pytest.approx(size[0] / size[1], rel=0.01)


@pytest.mark.parametrize("size", [(63, 240), (240, 63), (63, 63), (1, 1), (63, 4_000)])
def test_a_tiny_picture_is_refused_with_its_size_and_the_rule(size: tuple[int, int]) -> None:
    with pytest.raises(UnfitImageError, match=f"it is {size[0]}x{size[1]} pixels; each side must have at least 64 "):
        wire_form(encode(plain(*size)))


@pytest.mark.parametrize(
    ("size", "larger"),
    [((239, 240), (240, 241)), ((64, 64), (240, 240)), ((100, 300), (240, 720)), ((64, 512), (240, 1_920))],
)
def test_a_small_picture_is_enlarged_and_that_is_said(size: tuple[int, int], larger: tuple[int, int]) -> None:
    form = encoding.wire_form(encode(quarters(*size)))
    assert opened(form.data).size == larger
    assert corners(opened(form.data)) == CORNERS
    assert form.enlarged == f"from {size[0]}x{size[1]} to {larger[0]}x{larger[1]} pixels"


@pytest.mark.parametrize("size", [(1_921, 240), (240, 1_921), (3_000, 300)])
def test_a_picture_that_is_too_narrow_is_refused_with_the_rule(size: tuple[int, int]) -> None:
    with pytest.raises(UnfitImageError, match="8 times the shorter"):
        wire_form(encode(plain(*size)))


def test_a_large_lossless_file_becomes_a_jpeg_that_fits() -> None:
    noise = Image.frombytes("RGB", (2_048, 1_536), random.Random(1).randbytes(2_048 * 1_536 * 3))
    whole = encode_png(noise)
    assert len(whole) > MAX_WIRE_BYTES
    data, mime_type = wire_form(whole)
    assert mime_type == "image/jpeg"
    assert len(data) <= MAX_WIRE_BYTES
    assert opened(data).size == noise.size


def test_a_share_of_nine_references_is_kept_even_by_noise() -> None:
    share = 24_000_000 // 9
    noise = Image.frombytes("RGB", (2_048, 2_048), random.Random(2).randbytes(2_048 * 2_048 * 3))
    data, _ = wire_form(encode(noise, "JPEG", quality=95), max_bytes=share)
    assert len(data) <= share


@pytest.mark.parametrize("max_bytes", [300_000, 30_000])
def test_the_cap_in_bytes_is_kept_or_the_image_is_refused(max_bytes: int) -> None:
    noise = Image.frombytes("RGB", (1_024, 1_024), random.Random(3).randbytes(1_024 * 1_024 * 3))
    try:
        data, _ = wire_form(encode_png(noise), max_bytes=max_bytes)
    except UnfitImageError:
        return
    assert len(data) <= max_bytes


def test_a_narrow_picture_is_not_made_smaller_than_the_service_takes() -> None:
    noise = Image.frombytes("RGB", (1_920, 240), random.Random(4).randbytes(1_920 * 240 * 3))
    with pytest.raises(UnfitImageError):
        wire_form(encode_png(noise), max_bytes=20_000)


def test_the_form_to_be_sent_stays_as_it_is_when_it_is_made_again() -> None:
    once = wire_form(encode(quarters(300, 300), "JPEG", exif=exif()))
    assert wire_form(once[0]) == once


# Text that stands for bytes


@given(st.binary(max_size=300))
def test_a_data_uri_gives_back_its_bytes(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert decode_data_uri(f"data:image/png;base64,{text}") == data
    assert decode_image_text(text) == data


@pytest.mark.parametrize("head", ["data:image/jpeg;base64", "DATA:IMAGE/PNG;BASE64", "data:image/svg+xml;base64"])
def test_the_label_of_a_data_uri_is_not_believed_and_not_needed(head: str) -> None:
    assert decode_data_uri(f"{head},iVBORw0KGgo=") == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:",
        "data:,iVBORw0KGgo=",
        "data:image/png;base64",
        "data:image/png,iVBORw0KGgo=",
        "data:image/png;base64;iVBORw0KGgo=",
        " data:image/png;base64,iVBORw0KGgo=",
        "data:image/png;base64,!!!!aGVsbG8=%%%",
        "data:image/png;base64,QQ==QUJD",
        "data:image/png;base64,====",
        "data:image/png;base64,iVBORw0KGgo=,iVBORw0KGgo=",
        "data:image/png;base64,\u0391\u0392\u0393\u0394",
        "data:image/png;base64,\ud800",
        "data:image/png;base64,\x00\x00\x00\x00",
        "iVBORw0KGgo=",
        "https://example.com/a.png",
    ],
    ids=lambda text: ascii(text)[:50],
)
def test_what_is_not_a_base64_data_uri_is_refused(text: str) -> None:
    with pytest.raises(NotAnImageError):
        decode_data_uri(text)


SPELLINGS = {
    "another label": "data:text/html;base64,{}",
    "half a label": "data:image/;base64,{}",
    "a charset": "data:image/png;charset=utf-8;base64,{}",
    "a name": "data:image/png;name=fox.png;base64,{}",
    "a blank": "data: image/png;base64,{}",
    "no label": "data:;base64,{}",
    "octets": "data:application/octet-stream;base64,{}",
    "a long label": f"data:image/{'p' * 50};base64,{{}}",
    "upper case": "DATA:IMAGE/PNG;BASE64,{}",
}


@pytest.mark.parametrize("form", SPELLINGS)
def test_a_data_uri_with_any_label_is_read(form: str) -> None:
    data = bytes(range(256))
    assert decode_data_uri(SPELLINGS[form].format(base64.b64encode(data).decode())) == data


@pytest.mark.parametrize("size", [254, 255, 256])
@pytest.mark.parametrize("spell", [base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes])
@pytest.mark.parametrize("padding", ["kept", "left out", "doubled", "percent"])
def test_base64_is_read_in_every_spelling_that_decoders_meet(size: int, spell: Any, padding: str) -> None:
    data = bytes(range(256))[:size]
    text = spell(data).decode()
    stripped = text.rstrip().rstrip("=")
    spelled = {"kept": text, "left out": stripped, "doubled": f"{stripped}==", "percent": text.replace("=", "%3D")}
    assert decode_base64(spelled[padding]) == data
    assert decode_image_text(spelled[padding]) == data
    assert decode_data_uri(f"data:image/png;base64,{spelled[padding]}") == data


def test_a_data_uri_beyond_the_cap_is_refused_before_it_is_decoded() -> None:
    fits = "data:image/png;base64," + base64.b64encode(b"x" * 999).decode()
    assert decode_data_uri(fits, max_bytes=999) == b"x" * 999
    with pytest.raises(NotAnImageError, match="too long"):
        decode_data_uri(fits + "!" * 1_000, max_bytes=999)


@pytest.mark.parametrize(
    "text",
    [
        "iVBORw0KGgo=",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:application/octet-stream;base64,iVBORw0KGgo=",
        "DATA:;base64,iVBORw0KGgo=",
        "iVBORw0K\nGgo=\n",
        "iVBORw0K\r\nGgo=\r\n",
        " iVBORw0KGgo= ",
    ],
)
def test_what_a_service_sends_may_be_bare_labelled_or_wrapped(text: str) -> None:
    assert decode_image_text(text) == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("text", ["<html>", "https://example.com/a.png", "a", "\ud800", "A" * 5])
def test_what_a_service_sends_that_is_no_spelling_of_base64_is_refused(text: str) -> None:
    with pytest.raises(NotAnImageError):
        decode_image_text(text)


@pytest.mark.parametrize("size", [data_uri.BASE64_SLICE * 3 // 4 + extra for extra in (-1, 0, 1, 2, 3)])
def test_base64_in_slices_is_base64(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert decode_base64(base64.b64encode(data).decode()) == data


def test_padding_in_the_middle_is_refused_also_where_two_slices_meet() -> None:
    first = "A" * (data_uri.BASE64_SLICE - 2) + "=="
    assert len(decode_base64(first)) == data_uri.BASE64_SLICE * 3 // 4 - 2
    with pytest.raises(NotAnImageError):
        decode_base64(first + "QUJD")


@given(st.text(alphabet="AQIg+/=-_ \n\u00e9", max_size=12))
def test_any_text_decodes_as_its_plain_spelling_does_or_not_at_all(text: str) -> None:
    plain = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        expected = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        with pytest.raises(NotAnImageError):
            decode_base64(text)
        return
    try:
        assert decode_base64(text) == expected
    except NotAnImageError:
        assert not plain or base64.b64encode(expected).decode().rstrip("=") != plain
