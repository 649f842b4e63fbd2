"""A size that is asked for as a ratio, and an image of another ratio."""

from __future__ import annotations

import asyncio

import pytest

from langchain_wan import ImageRequest, WanStore
from langchain_wan._services.sizes import LARGEST, LARGEST_FROM_TEXT, TIERS, compute_size
from langchain_wan.errors import InvalidImageRequestError, PaidButNotRetrievedError
from langchain_wan.sandbox import Sandbox
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import png
from tests.support.services import Generate, build_client, posts


@pytest.mark.parametrize(
    ("model", "size", "sent"),
    [
        ("wan2.7-image", "16:9", "2720*1530"),
        ("wan2.7-image", "32:18", "2720*1530"),
        ("wan2.7-image", "1K 9:16", "765*1360"),
        ("wan2.7-image-pro", "16:9", "5456*3069"),
        ("wan2.7-image-pro", "2K 1:1", "2048*2048"),
        ("wan2.7-image", "8:1", "5792*724"),
    ],
)
def test_a_ratio_is_sent_as_the_largest_width_and_height(
    model: str, size: str, sent: str, generate: Generate, sandbox: Sandbox
) -> None:
    client = build_client(sandbox, store=WanStore())
    result = generate(client, ImageRequest(prompt="a fox", size=size, model=model))
    assert [post.json["size"] for post in posts(sandbox)] == [sent]
    assert f"{result[0].width}*{result[0].height}" == sent
    assert result.adjustments == []


@pytest.mark.parametrize("has_images", [False, True])
@pytest.mark.parametrize("model", ["wan2.7-image", "wan2.7-image-pro"])
def test_each_ratio_keeps_its_shape_and_the_limits_of_the_model(model: str, has_images: bool) -> None:
    side = LARGEST if has_images else LARGEST_FROM_TEXT.get(model, LARGEST)
    for wide in range(1, 100):
        for high in range(max(1, wide // 8 + bool(wide % 8)), min(99, wide * 8) + 1):
            width, height = map(int, compute_size(f"{wide}:{high}", model, has_images=has_images).split("*"))
            assert width * high == height * wide
            assert TIERS["1K"] ** 2 < width * height <= side**2


def test_a_tier_that_the_model_does_not_make_is_refused_with_what_it_makes(
    generate: Generate, sandbox: Sandbox
) -> None:
    client = build_client(sandbox, store=WanStore())
    with pytest.raises(InvalidImageRequestError, match=r"larger than wan2.*Use 2K 16:9 as the size"):
        generate(client, ImageRequest(prompt="a fox", size="4K 16:9"))
    assert (sandbox.requests, client.store.history()) == ([], [])


@pytest.mark.parametrize("size", ["16:9", "1K 16:9", "1280*720"])
def test_an_image_of_another_ratio_is_delivered_and_said_to_be_so(size: str, generate: Generate) -> None:
    with FaultServer(files={"/a.png": reply(200, png(size=(1024, 1024)))}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        result = generate(build_client(server, store=WanStore()), ImageRequest(prompt="a fox", size=size))
        assert len(server.posts) == 1
    sentence = f"Asked for {size}, got 1024x1024: the service ignored `size`."
    assert result.adjustments == [sentence]
    assert sentence in result.describe()


def test_what_was_changed_or_ignored_is_said_of_a_resumed_image_too(asynchronous: bool) -> None:
    files = {"/a.png": [*[reply(503)] * 3, reply(200, png(size=(1024, 1024)))]}
    with FaultServer(files=files) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        client = build_client(server, store=WanStore())
        with pytest.raises(PaidButNotRetrievedError):
            client.generate(ImageRequest(prompt="a fox", size="16:9", images=[png(size=(100, 100))]))
        (result,) = asyncio.run(client.aresume()) if asynchronous else client.resume()
        assert len(server.posts) == 1
    enlarged, ignored = result.adjustments
    assert "was enlarged" in enlarged
    assert ignored == "Asked for 16:9, got 1024x1024: the service ignored `size`."
