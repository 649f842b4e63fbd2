"""Files that ask for hours of work: what they ask for is counted, and refused before a decoder runs."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageFile

from langchain_wan import WanConfigurationError, WanStore
from langchain_wan.errors import ImageReferenceError, StoreError
from tests.support.corpus.judge import CLOSE, difference, on_white
from tests.support.corpus.made import ADOBE_RGB, CORNERS, matrix_profile, png_with, quarters, see_corners
from tests.support.images import encode, png, png_chunk

MEGABYTE = 2**20


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes of every file that reached a decoder of Pillow."""
    files: list[bytes] = []
    initialise = ImageFile.ImageFile.__init__

    def record(self: Any, fp: Any, *args: Any, **options: Any) -> None:
        files.append(fp.getvalue())
        initialise(self, fp, *args, **options)

    monkeypatch.setattr(ImageFile.ImageFile, "__init__", record)
    return files


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The length of every piece that zlib unpacked in Python."""
    lengths: list[int] = []
    make = zlib.decompressobj

    class Counting:
        def __init__(self, *args: Any) -> None:
            self._real = make(*args)

        def decompress(self, *args: Any) -> bytes:
            piece = self._real.decompress(*args)
            lengths.append(len(piece))
            return piece

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    with monkeypatch.context() as patch:
        patch.setattr(zlib, "decompressobj", Counting)
        yield lengths


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def progressive(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG; each scan says in a few bytes that all of its blocks are empty."""
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\0"
    codes = b"\0\x01" + bytes(15) + b"\0" + b"\x10\x01" + bytes(15) + b"\xe0"
    tables = segment(0xDB, b"\0" + bytes([1] * 64)) + segment(0xC2, frame) + segment(0xC4, codes)
    blocks = (width + 7) // 8 * ((height + 7) // 8)
    first = segment(0xDA, b"\x01\x01\0\0\0\0") + bytes((blocks + 7) // 8)
    return b"\xff\xd8" + tables + first + segment(0xDA, b"\x01\x01\0\x01\x3f\0") * (scans - 1) + b"\xff\xd9"


def sequential(scans: int) -> bytes:
    """A JPEG whose last scan comes again and again."""
    data = encode(quarters(), "JPEG")
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * (scans - 1) + b"\xff\xd9"


def gif(before: bytes) -> bytes:
    """A GIF with extensions before its frame."""
    data = encode(quarters().quantize(8), "GIF")
    frame = data.index(b"\x2c\0\0\0\0")
    return data[:frame] + before + data[frame:]


def webp(chunks: bytes) -> bytes:
    data = encode(quarters(), "WEBP")[12:] + chunks
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def bmp(width: int, height: int, runs: bytes) -> bytes:
    """A BMP whose colours are packed in runs."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + bytes(1024) + runs


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def avif(*boxes: bytes, properties: bytes = b"", film: bytes = b"") -> bytes:
    inside = b"".join(boxes) + box(b"iprp", box(b"ipco", properties))
    return box(b"ftyp", b"avif\0\0\0\0mif1") + box(b"meta", bytes(4) + inside) + film


def size_of_item(side: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, side, side))


GREY = quarters().convert("L")
GREY_ROWS = b"".join(b"\0" + GREY.crop((0, y, 300, y + 1)).tobytes() for y in range(260))


def grey_png(*rows: bytes) -> bytes:
    """A PNG of 300x260 greys, with these chunks of packed rows."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 300, 260, 8, 0, 0, 0, 0))
    chunks = b"".join(png_chunk(b"IDAT", packed) for packed in rows)
    return b"\x89PNG\r\n\x1a\n" + header + chunks + png_chunk(b"IEND", b"")


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "210 scans of 19 megapixels": (lambda: progressive(4_400, 4_400, 210), "too many scans; at most 72 of 4400x4400"),
    "21 scans of 69 megapixels": (lambda: progressive(8_300, 8_300, 21), "too many scans; at most 20 of 8300x8300"),
    "101 scans of a small image": (lambda: progressive(300, 300, 101), "too many scans; at most 100"),
    "101 scans that are not progressive": (lambda: sequential(101), "too many scans; at most 100"),
    "two scans of 80 megapixels": (lambda: progressive(9_000, 9_000, 2), "at most 70 megapixels"),
    "a PNG of chunks": (lambda: png_with(png_chunk(b"prVt", b"") * 20_000), "too many parts; at most 20,000"),
    "a PNG of rows in bytes": (lambda: png()[:33] + png_chunk(b"IDAT", b"") * 20_000 + png()[33:], "too many parts"),
    "a JPEG of segments": (lambda: b"\xff\xd8" + segment(0xDB, b"\0" * 65) * 20_000 + png(), "too many parts"),
    "a JPEG of markers": (lambda: b"\xff\xd8" + b"\xff\x01" * 20_000 + sequential(1)[2:], "too many parts"),
    "a WebP of chunks": (lambda: webp(b"XXXX\0\0\0\0" * 20_000), "too many parts"),
    "a WebP of frames": (lambda: webp((b"ANMF" + struct.pack("<I", 16) + bytes(16)) * 20_000), "too many parts"),
    "a GIF of blocks": (lambda: gif(b"\x21\xfe" + b"\x01a" * 300_000 + b"\0"), "too many blocks; at most 300,000"),
    "a GIF of extensions": (lambda: gif(b"\x21\xfe\0" * 300_000), "too many blocks"),
    "a BMP of runs": (lambda: bmp(2_500, 2_000, b"\x01\0\0\0" * 2_000), "pixels packed in runs; at most 4,000,000"),
    "a BMP of moves": (lambda: bmp(300, 300, b"\0\2\0\0" * 200_000), "damaged or cut off"),
    "an AVIF of items": (lambda: avif(box(b"iinf", bytes(70_000))), "too many items"),
    "an AVIF of places": (lambda: avif(box(b"iloc", bytes(70_000))), "too many items"),
    "an AVIF of tiles": (lambda: avif(box(b"iref", bytes(70_000))), "too many items"),
    "an AVIF of boxes": (lambda: avif(box(b"free", b"") * 20_001), "too many parts"),
    "an AVIF of a huge tile": (lambda: avif(properties=size_of_item(300) + size_of_item(30_000)), "30000x30000"),
    "an AVIF of frames": (lambda: avif(film=box(b"moov", bytes(300_000))), "too many entries in the index of its film"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_costs_too_much_is_refused_before_a_decoder_runs(name: str, opened: list[bytes]) -> None:
    make, refusal = HOSTILE[name]
    data = make()
    opened.clear()
    with pytest.raises(ImageReferenceError, match=refusal):
        WanStore().add(data)
    assert opened == []


def test_twenty_scans_of_a_large_photo_are_read() -> None:
    assert WanStore().add(progressive(8_300, 8_300, 20)).width == 8_300
    assert see_corners(WanStore().add(encode(quarters(), "JPEG", quality=92, progressive=True)).to_pil())


def test_of_texts_and_profiles_that_unpack_to_megabytes_one_each_is_unpacked(unpacked: list[int]) -> None:
    bomb = zlib.compress(bytes(MEGABYTE))
    texts = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb) * 200
    profiles = png_chunk(b"iCCP", b"p\0\0" + bomb) * 200
    image = WanStore().add(png_with(texts, profiles))
    unpacked.clear()
    assert see_corners(image.to_pil()) == CORNERS
    assert sum(unpacked) < 5 * MEGABYTE


def test_rows_that_go_on_for_ever_are_not_unpacked(unpacked: list[int]) -> None:
    image = WanStore().add(grey_png(zlib.compress(GREY_ROWS + bytes(200 * MEGABYTE))))
    unpacked.clear()
    assert image.to_pil().tobytes() == GREY.tobytes()
    assert sum(unpacked) < 5 * MEGABYTE


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda: gif(b"\x21\xfe" + (b"\xff" + b"a" * 255) * 4_000 + b"\0"), 2_000),
        (lambda: png_with(png_chunk(b"tEXt", b"k\0" + b"a" * MEGABYTE)), 20_000),
        (lambda: b"\xff\xd8" + segment(0xFE, b"a" * 60_000) * 20 + encode(quarters(), "JPEG", quality=92)[2:], 20_000),
    ],
    ids=["GIF", "PNG", "JPEG"],
)
def test_a_decoder_gets_no_comments(make: Callable[[], bytes], most: int, opened: list[bytes]) -> None:
    data = make()
    opened.clear()
    image = WanStore().add(data).to_pil()
    assert difference(on_white(image), on_white(quarters())) < CLOSE
    assert 0 < max(map(len, opened)) < most


def test_a_decoder_gets_the_rows_of_a_png_in_one_chunk(opened: list[bytes]) -> None:
    packed = zlib.compress(GREY_ROWS, 0)
    image = WanStore().add(grey_png(*(packed[start : start + 10] for start in range(0, len(packed), 10))))
    assert image.to_pil().tobytes() == GREY.tobytes()
    assert opened[-1].count(b"IDAT") == 1


def test_no_program_of_a_profile_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little CMS would run a list of operations of any length for each of 36,000 colours."""
    profile = bytearray(matrix_profile(ADOBE_RGB, 2.2))
    assert profile[132:136] == b"wtpt"
    profile[132:136] = b"D2B0"
    read: list[bytes] = []
    original = ImageCms.ImageCmsProfile

    def record(file: io.BytesIO) -> Any:
        read.append(file.getvalue())
        return original(file)

    image = WanStore().add(encode(quarters(), icc_profile=bytes(profile)))
    monkeypatch.setattr(ImageCms, "ImageCmsProfile", record)
    image.to_pil()
    assert read
    assert not any(b"D2B0" in text for text in read)


RAISED = [MemoryError, RecursionError, SystemError, struct.error, UserWarning, KeyError, AssertionError]


@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_decoder_or_an_encoder_raises_is_one_typed_error(
    raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = WanStore().add(encode(quarters(), "GIF"))

    def fail(*args: Any, **options: Any) -> None:
        raise raised("x")

    for method, uses in (("load", (image.to_pil,)), ("save", (image.thumbnail, image.content_block))):
        with monkeypatch.context() as patch:
            patch.setattr(ImageFile.ImageFile if method == "load" else Image.Image, method, fail)
            for use in uses:
                with pytest.raises(StoreError, match=f"{image.id} can't be decoded"):
                    use()
            assert image.preview() is None


@pytest.mark.parametrize("raised", [*RAISED, OSError])
def test_whatever_a_writer_raises_is_one_typed_error(
    raised: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = WanStore().add(png())

    def fail(*args: Any, **options: Any) -> None:
        raise raised("x")

    monkeypatch.setattr(Image.Image, "save", fail)
    expected = StoreError if raised is MemoryError else WanConfigurationError
    for ending in (".tif", ".jpg"):
        with pytest.raises(expected, match=r"not enough memory to write it|files can't hold this image"):
            image.save(tmp_path / f"a{ending}")


async def test_many_images_that_take_long_do_not_keep_other_work_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    store, done = WanStore(), threading.Event()
    load = ImageFile.ImageFile.load

    def wait(image: Any) -> Any:
        done.wait(30)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", wait)
    cut = encode(quarters(), "GIF")[:-40]  # only decoding shows what is missing
    waiting = [asyncio.create_task(store.aadd(cut)) for _ in range(20)]
    try:
        await asyncio.sleep(0)
        assert await store.ahistory() == []
        assert not any(task.done() for task in waiting)
    finally:
        done.set()
        await asyncio.gather(*waiting, return_exceptions=True)
