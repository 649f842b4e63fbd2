"""Images as code passes them: Pillow objects of every mode, large files, and files of every ending."""

from __future__ import annotations

import io
import random
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from langchain_wan import ImageRequest, WanConfigurationError, WanStore, errors
from langchain_wan._call import references
from langchain_wan._media import decode
from langchain_wan._media.encode import wire_form
from tests.support.corpus.made import CORNERS, HAS_AVIF, cmyk_profile, exif, quarters, see_corners, turned
from tests.support.images import encode, png, png_chunk

SECRET = b"Jane Doe at home"


def stored(source: Any) -> Image.Image:
    """What a store keeps of a source."""
    with Image.open(io.BytesIO(WanStore().add(source).read())) as image:
        image.load()
    return image


def are_close(seen: Any, expected: Any, far: int = 12) -> bool:
    return all(
        abs(a - b) <= far for left, right in zip(seen, expected, strict=True) for a, b in zip(left, right, strict=True)
    )


# Pillow objects


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_opened_with_pillow_is_upright(kind: str, orientation: int) -> None:
    with Image.open(io.BytesIO(encode(turned(orientation), kind, exif=exif(orientation)))) as photo:
        image = stored(photo)
    assert image.size == (300, 260)
    assert are_close(see_corners(image), CORNERS)
    assert not image.getexif()


def test_a_photo_that_was_turned_upright_is_not_turned_again() -> None:
    from PIL import ImageOps

    with Image.open(io.BytesIO(encode(turned(6), "JPEG", exif=exif(6)))) as photo:
        assert are_close(see_corners(stored(ImageOps.exif_transpose(photo))), CORNERS)
        assert are_close(see_corners(stored(photo.convert("RGB").resize((260, 300)))), CORNERS)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "HSV", "YCbCr", "P", "PA", "RGBX", "RGBA", "RGBa"])
def test_every_mode_of_pillow_keeps_its_colours(mode: str) -> None:
    image = quarters()
    if mode == "LAB":
        from PIL import ImageCms

        image = (
            ImageCms.profileToProfile(
                image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
            )
            or image
        )
    elif mode == "P":
        image = image.quantize(4)
    elif mode in {"PA", "RGBa"}:
        image = image.convert("P" if mode == "PA" else "RGBA").convert(mode)
    else:
        image = image.convert(mode)
    assert image.mode == mode
    assert are_close(see_corners(stored(image)), CORNERS, 40 if mode == "PA" else 12)


@pytest.mark.parametrize(
    ("mode", "value", "level"),
    [
        *(("1", 1, 255), ("L", 100, 100), ("I", 100, 100), ("I", 40_000, 156), ("F", 0.5, 128), ("F", 100.0, 100)),
        *(("I;16", 0x8000, 128), ("LA", (100, 255), 100), ("La", (100, 255), 100)),
    ],
)
def test_numbers_become_the_grey_that_they_mean(mode: str, value: Any, level: int) -> None:
    image = Image.new("LA", (300, 300), value).convert("La") if mode == "La" else Image.new(mode, (300, 300), value)
    low, high = stored(image).convert("L").getextrema()
    assert low == high
    assert low in {level - 1, level, level + 1}


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (Image.new("RGB", (0, 300)), "no pixels (0x300)"),
        (Image.new("I", (300, 300), 70_000), "Scale them to 0..255"),
        (Image.new("F", (300, 300), float("nan")), "Scale them to 0..255"),
        (Image.new("F", (300, 300), -1.0), "numbers from -1 to -1 (mode F)"),
        (Image.new("1", (65_536, 10)), "too many pixels (65536x10); at most 256 megapixels and 65,535 pixels a side"),
    ],
)
def test_a_pillow_image_that_means_nothing_is_refused_with_the_reason(image: Image.Image, text: str) -> None:
    with pytest.raises(errors.ImageReferenceError) as caught:
        WanStore().add(image)
    assert text in str(caught.value)


def test_a_pillow_image_whose_file_is_cut_off_is_refused() -> None:
    with (
        Image.open(io.BytesIO(encode(quarters(), "JPEG")[:2_000])) as image,
        pytest.raises(errors.ImageReferenceError, match="damaged"),
    ):
        WanStore().add(image)


def test_the_profile_of_other_pixels_is_ignored() -> None:
    image = quarters()
    image.info["icc_profile"] = cmyk_profile()
    assert see_corners(stored(image)) == CORNERS


# What needs more than is installed

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x08meta"


def test_a_heic_without_the_extra_names_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(errors.ImageReferenceError) as caught:
        WanStore().add(HEIC)
    assert str(caught.value) == (
        "This can't be stored: it is a HEIC photo, and pillow-heif is not installed. "
        "Install the extra: pip install 'langchain-wan[heif]'. Or save it as PNG or JPEG."
    )


def test_an_avif_that_pillow_does_not_read_names_the_version_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
    with pytest.raises(errors.ImageReferenceError, match=r"pip install 'pillow>=11\.3'"):
        WanStore().add(HEIC.replace(b"ftypheic", b"ftypavif"))


# Large files


def test_a_file_of_400_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "poster.png"
    with path.open("wb") as file:
        file.write(png())
        file.truncate(400 * 2**20)  # sparse: it takes no room
    request = ImageRequest(prompt="x", images=(path,))
    naming = references.Naming(WanStore()._storage)
    for act in (lambda: WanStore().add(path), lambda: references.resolve(request.images, naming)):
        tracemalloc.start()
        with pytest.raises(errors.ImageReferenceError, match=r"poster\.png.*419,430,400 bytes; at most .*64 MiB"):
            act()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * 2**20


@pytest.mark.parametrize("name", ["/dev/zero", "."])
def test_what_is_not_a_file_is_refused_unread(name: str) -> None:
    with pytest.raises(errors.ImageReferenceError, match="it is not a file"):
        WanStore().add(Path(name))


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
def test_a_large_png_is_decoded_in_bands_to_the_same_pixels(colour: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}[colour]
    noise = Image.frombytes("RGB", (900, 700), random.Random(colour).randbytes(900 * 700 * 3))
    image = Image.blend(quarters(900, 700), noise, 0.3)
    if mode in {"LA", "RGBA"}:
        image.putalpha(image.convert("L"))
    data = encode(image.convert(mode), compress_level=6)
    for options in ({"max_side": 200}, {"on_white": True}, {"max_side": 200, "on_white": True}):
        at_once = decode.decode_image(data, **options)
        monkeypatch.setattr("langchain_wan._media.bands.LARGE", 1_000)
        monkeypatch.setattr("langchain_wan._media.bands.BAND_PIXELS", 20_000)
        in_bands = decode.decode_image(data, **options)
        monkeypatch.undo()
        assert in_bands.mode == at_once.mode
        assert in_bands.size == at_once.size
        assert are_close(see_corners(in_bands), see_corners(at_once), 20)
        if "max_side" not in options:
            assert in_bands.tobytes() == at_once.tobytes()


# Files that are saved

ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"} | {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".TIF": "TIFF",
    ".tga": "TGA",
    ".ppm": "PPM",
    ".jp2": "JPEG2000",
    ".ico": "ICO",
}


@pytest.mark.parametrize("ending", [*ENDINGS, *([".avif"] if HAS_AVIF else [])])
def test_a_file_has_the_type_of_its_ending(ending: str, tmp_path: Path) -> None:
    image = WanStore().add(encode(quarters(256, 250).convert("RGBA")))
    with Image.open(image.save(tmp_path / f"a{ending}")) as saved:
        assert saved.format == ENDINGS.get(ending, "AVIF")
        assert are_close(see_corners(saved), CORNERS, 25)


@pytest.mark.parametrize("ending", [".heic", ".heif"])
def test_a_heic_is_written_with_the_extra(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    saved = WanStore().add(encode(quarters())).save(tmp_path / f"a{ending}")
    assert decode.inspect(saved.read_bytes()).mime_type == "image/heic"


@pytest.mark.parametrize("ending", [".svg", ".psd", ".jxl", ".txt", ".mp4"])
def test_an_ending_that_nothing_writes_is_refused_and_no_file_is_left(ending: str, tmp_path: Path) -> None:
    with pytest.raises(WanConfigurationError, match=rf"a{ending} can't be written: {ending} is not an image type"):
        WanStore().add(png()).save(tmp_path / f"a{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".jpg", ".bmp", ".jpeg", ".ppm"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_saved_on_white(mode: str, ending: str, tmp_path: Path) -> None:
    if mode == "P":
        data = encode(Image.new("P", (300, 300), 0), transparency=0)
    else:
        data = encode(Image.new(mode, (300, 300), (0, 0) if mode == "LA" else (0, 0, 0, 0)))
    with Image.open(WanStore().add(data).save(tmp_path / f"a{ending}")) as saved:
        assert saved.convert("RGB").getpixel((9, 9)) == (255, 255, 255)


def test_a_block_of_a_message_holds_no_comment_at_any_size() -> None:
    import base64

    image = WanStore().add(encode(quarters(), "JPEG", comment=SECRET, exif=exif(6)))
    for max_side in (None, 100, 2_000):
        block = image.content_block(max_side)
        data = base64.b64decode(block["base64"])
        assert SECRET not in data
        with Image.open(io.BytesIO(data)) as sent:
            assert not sent.getexif()
            assert sent.size[0] < sent.size[1]  # turned upright
    assert SECRET not in image.thumbnail()


def test_a_result_without_metadata_is_a_block_byte_for_byte() -> None:
    import base64

    assert base64.b64decode(WanStore().add(png()).content_block()["base64"]) == png()


def test_a_result_that_is_cut_inside_its_data_is_a_typed_error_and_a_placeholder() -> None:
    rows = zlib.compress(b"".join(b"\0" + random.Random(row).randbytes(900) for row in range(150)))
    header = (300).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    image = WanStore().add(data)
    for act in (image.to_pil, image.thumbnail, image.content_block, lambda: image.content_block(100)):
        with pytest.raises(errors.StoreError, match=rf"{image.id} can't be decoded: the image is damaged or cut off"):
            act()
    assert image.preview() is None
    assert image.read() == data


def test_pixels_that_fit_go_byte_for_byte_and_others_do_not() -> None:
    assert wire_form(png())[0] == png()
    for data in (encode(quarters().convert("CMYK"), "JPEG"), encode(Image.new("I;16", (300, 300), 9))):
        assert wire_form(data)[0] != data
