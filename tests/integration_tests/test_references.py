"""What is sent of an input image: its own bytes where they fit, made to fit where nobody would mind, else refused."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from langchain_wan import ImageRequest, ImageResult, WanStore, errors
from tests.support.fault_server import FaultServer
from tests.support.images import PHOTOGRAPH, encode, photograph_path, png
from tests.support.services import build_client

Generate = Callable[..., ImageResult]


@pytest.fixture
def sent(generate: Generate) -> Callable[..., list[bytes]]:
    """Send references and return the bytes that arrived for each."""

    def send(*sources: Any) -> list[bytes]:
        with FaultServer() as server:
            client = build_client(server)
            generate(client, ImageRequest(prompt="oil painting", images=sources))
            parts = server.posts[0].json["messages"][0]["content"][:-1]
        urls = [part["image_url"]["url"] for part in parts]
        assert all(url.startswith("data:image/") for url in urls)
        return [base64.b64decode(url.partition(",")[2]) for url in urls]

    return send


def large_jpeg(**saved: Any) -> bytes:
    """12 megapixels, red at the left and blue at the right as stored."""
    image = Image.new("RGB", (4000, 3000), "red")
    ImageDraw.Draw(image).rectangle((2000, 0, 4000, 3000), fill="blue")
    out = io.BytesIO()
    image.save(out, "JPEG", **saved)
    return out.getvalue()


def test_a_real_photograph_works_from_a_path_bytes_and_pillow(sent: Callable[..., list[bytes]]) -> None:
    from_path, from_bytes, from_pillow = sent(photograph_path(), PHOTOGRAPH, Image.open(photograph_path()))
    for data in (from_path, from_bytes, from_pillow):
        assert Image.open(io.BytesIO(data)).size == (512, 600)
    assert from_path == from_bytes


def test_a_photograph_with_exif_rotation_comes_out_upright_and_without_metadata(
    sent: Callable[..., list[bytes]],
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    exif[0x010F] = "Canary Cameras"
    exif.get_ifd(0x8825)[1] = "N"  # a GPS position
    (data,) = sent(large_jpeg(exif=exif))
    image = Image.open(io.BytesIO(data)).convert("RGB")
    assert image.size == (1536, 2048)
    assert image.getpixel((768, 100))[0] > 200  # type: ignore[index]  # RGB: what was left is on top
    assert image.getpixel((768, 1900))[2] > 200  # type: ignore[index]
    assert b"Canary" not in data
    assert not Image.open(io.BytesIO(data)).getexif()


def test_what_fits_is_sent_byte_for_byte(sent: Callable[..., list[bytes]]) -> None:
    large = large_jpeg()
    assert sent(png(), large) == [png(), large]


def test_transparency_becomes_white(sent: Callable[..., list[bytes]]) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (300, 300), (255, 0, 0, 0)).save(out, "PNG")
    (data,) = sent(out.getvalue())
    image = Image.open(io.BytesIO(data))
    assert image.mode == "RGB"
    assert image.getpixel((9, 9)) == (255, 255, 255)


@pytest.mark.parametrize("size", [(50, 300), (2100, 250)])
def test_a_picture_that_breaks_a_rule_is_refused_with_the_rule_before_anything_is_sent(
    size: tuple[int, int], generate: Generate
) -> None:
    with FaultServer() as server:
        client = build_client(server)
        with pytest.raises(
            errors.ImageReferenceError, match=r"images\[1\].* can.t be used.*(at least 64 pixels|8 times)"
        ):
            generate(client, ImageRequest(prompt="x", images=(png(), png(size=size))))
        assert server.posts == []


def test_many_large_images_fit_into_one_request(sent: Callable[..., list[bytes]]) -> None:
    noise = Image.frombytes("RGB", (1500, 1500), random.Random(1).randbytes(1500 * 1500 * 3))
    png = encode(noise, compress_level=1)
    assert len(png) * 5 > 24_000_000
    data = sent(*[png] * 5)
    assert len(data) == 5
    assert sum(map(len, data)) <= 24_000_000


def test_input_images_are_stored_and_are_the_parents(generate: Generate) -> None:
    store = WanStore()
    with FaultServer() as server:
        client = build_client(server, store=store)
        result = generate(client, ImageRequest(prompt="x", images=(photograph_path(),)))
    photograph = store.get(result.parents[0])
    assert photograph is not None
    assert photograph.read() == PHOTOGRAPH


@pytest.mark.parametrize(
    "source", [b"<svg></svg>", Path("/nowhere/at/all.png"), "data:image/png;base64,AAAA", "data:text/html,x"]
)
def test_what_is_no_image_is_refused_before_anything_is_sent(source: Any, generate: Generate) -> None:
    with FaultServer() as server:
        client = build_client(server)
        with pytest.raises(errors.ImageReferenceError) as caught:
            generate(client, ImageRequest(prompt="x", images=(source,)))
        assert caught.value.charged == "no"
        assert server.posts == []


def test_a_file_id_of_a_provider_is_refused_with_its_own_reason() -> None:
    with pytest.raises(ValueError, match="provider's file store"):
        ImageRequest(prompt="x", images=({"type": "image", "file_id": "file-123"},))
