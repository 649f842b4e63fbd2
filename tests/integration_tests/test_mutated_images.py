"""Thousands of damaged images, used as an input, an attachment and a result: only typed errors, and bounded memory."""

from __future__ import annotations

import base64
import os
import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from langchain_wan import ImageRequest, WanImageTool, WanStore
from langchain_wan.errors import ImageReferenceError, StoreError
from tests.support.conversations import attached
from tests.support.corpus.made import all_made
from tests.support.entrances import by_tool_node, to_config
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import PHOTOGRAPH, encode, in_base64, png
from tests.support.mutations import mutate
from tests.support.services import access, build_client

Use = Callable[[bytes, Path], bool]

ROUNDS = int(os.environ.get("MUTATIONS", "40"))
FILES = {made.name: made.make for made in all_made() if "megapixels" not in made.name and "8,000" not in made.name}
FILES["a real photograph"] = lambda: PHOTOGRAPH
SMALL = encode(Image.new("RGB", (64, 64)))


def use_as_input(data: bytes, folder: Path) -> bool:
    with FaultServer() as server:
        try:
            build_client(server, store=WanStore()).generate(ImageRequest(prompt="x", images=(data,)))
        except ImageReferenceError:
            assert server.posts == []
            return False
    return True


def use_as_attachment(data: bytes, folder: Path) -> bool:
    with FaultServer() as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        arguments = {"prompt": "x", "images": ["upload_1"]}
        message = by_tool_node(tool, arguments, to_config("1"), [attached(data)], asynchronous=False)
    assert message.status == "success" or "upload_1" in str(message.content)
    return bool(message.status == "success")


def use_as_result(data: bytes, folder: Path) -> bool:
    with FaultServer(reply(200, answer(in_base64(data), in_base64(png())))) as server:
        result = build_client(server, store=WanStore()).generate(ImageRequest(prompt="x", n=2))
        assert len(server.posts) == 1
    assert result.images[-1].read() == png()
    assert "<img" in result._repr_html_()
    assert result.to_message().content
    image = result.images[0]
    uses: dict[str, Callable[[], Any]] = {
        "to_pil": image.to_pil,
        "thumbnail": image.thumbnail,
        "block": image.content_block,
        "small block": lambda: image.content_block(512),
        **{ending: partial(image.save, folder / f"a{ending}") for ending in (".jpg", ".png", ".tif")},
    }
    refused = set()
    for name, use in uses.items():
        try:
            use()
        except StoreError:
            refused.add(name)
    assert "to_pil" in refused or not refused  # what is decoded can be used in every way
    image.preview()
    return len(result.images) > 1 and not refused


@pytest.mark.parametrize("use", [use_as_input, use_as_attachment, use_as_result])
def test_a_damaged_image_is_used_or_refused_by_a_typed_error(
    use: Callable[[bytes, Path], bool], tmp_path: Path
) -> None:
    chance, used = Random(use.__name__), 0
    use(SMALL, tmp_path)  # imports what is needed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(ROUNDS):
        name = chance.choice(list(FILES))
        data = mutate(FILES[name](), chance)
        try:
            used += use(data, tmp_path)
        except BaseException as error:
            error.add_note(f"{name}, number {number}: {base64.b64encode(data).decode()}")
            raise
    assert 0 < used < ROUNDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 2**10  # KiB
