"""One odd image costs nothing but itself: not the other results, not other operations, not the conversation."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_wan import ImageRequest, ImageResult, WanImageTool, WanStore, errors
from langchain_wan.middleware import WanImageMiddleware
from tests.support.conversations import attached
from tests.support.corpus.made import all_made, quarters
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import encode, in_base64, png, png_chunk
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, build_client

Generate = Callable[..., ImageResult]

MADE = {made.name: made.make for made in all_made()}
NO_DATA = MADE["a PNG without image data"]()
ODD = [
    "a raw profile with bytes behind its hex",
    "EXIF that is not TIFF",
    "EXIF with a tag of an odd type",
    "EXIF in PNG that is not TIFF",
    "EXIF whose directory is cut",
    "a broken profile",
    "text above 1 MB",
    "a profile above 1 MB",
    "a wrong checksum of IDAT",
    "a JPEG without its end",
]


def cut_inside() -> bytes:
    """A PNG whose chunks are all right, and whose rows end in the middle."""
    rows = zlib.compress(b"".join(b"\0" + random.Random(row).randbytes(900) for row in range(150)))
    header = (300).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    pieces = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


@pytest.mark.parametrize("in_answer", [True, False], ids=["base64", "URL"])
def test_a_result_without_image_data_does_not_lose_the_other(in_answer: bool, generate: Generate) -> None:
    with FaultServer(files={"/a.png": reply(200, NO_DATA), "/b.png": reply(200, png())}) as server:
        urls = [f"{server.origin}/a.png", f"{server.origin}/b.png"]
        server._script = [reply(200, answer(*([in_base64(NO_DATA), in_base64(png())] if in_answer else urls)))]
        result = generate(build_client(server), ImageRequest(prompt="x", n=2))
    assert [image.read() for image in result.images] == [png()]
    assert [(failure.index, failure.reason) for failure in result.failures] == [(0, "it has no image data")]


def test_resume_goes_on_with_other_operations(tmp_path: Path) -> None:
    missing = [reply(500)] * 3
    files: Any = {"/a.png": [*missing, *[reply(200, NO_DATA)] * 9], "/b.png": [*missing, reply(200, png())]}
    with FaultServer(files=files) as server:
        client = build_client(server, store=WanStore(tmp_path))
        for name in ("a", "b"):
            server._script = [reply(200, answer(f"{server.origin}/{name}.png"))]
            with pytest.raises(errors.PaidButNotRetrievedError):
                client.generate(name)
        assert [image.read() for result in client.resume() for image in result.images] == [png()]


@pytest.mark.parametrize("name", ODD)
def test_an_odd_result_is_delivered_saved_and_shown(name: str, tmp_path: Path, generate: Generate) -> None:
    data = MADE[name]()
    with FaultServer(reply(200, answer(in_base64(data)))) as server:
        result = generate(build_client(server), "x")
    image = result.images[0]
    assert image.read() == data
    assert image.to_pil().size
    assert "<img" in result._repr_html_()
    assert result.to_message().content
    for ending in (".jpg", ".png", ".webp"):
        assert image.save(tmp_path / f"a{ending}").stat().st_size


def test_a_result_that_is_cut_inside_is_delivered_and_its_place_in_the_gallery_says_so(generate: Generate) -> None:
    with FaultServer(reply(200, answer(in_base64(cut_inside()), in_base64(png())))) as server:
        result = generate(build_client(server), ImageRequest(prompt="x", n=2))
    assert [image.read() for image in result.images] == [cut_inside(), png()]
    with pytest.raises(errors.StoreError, match="the image is damaged or cut off"):
        result.images[0].to_pil()
    page = result._repr_html_()
    assert "can&#x27;t be shown: the image is damaged or cut off" in page
    assert "not stored" not in page
    assert page.count("<img") == 1


def test_a_download_without_its_end_is_fetched_again_and_taken_if_no_better_one_comes(generate: Generate) -> None:
    cut = png()[:-12]
    for second, expected in ((png(), png()), (cut, cut)):
        with FaultServer(files={"/a.png": [reply(200, cut), *[reply(200, second)] * 2]}) as server:
            server._script = [reply(200, answer(f"{server.origin}/a.png"))]
            assert generate(build_client(server), "x").images[0].read() == expected


def test_an_enlarged_input_is_named_in_the_result_and_to_the_model() -> None:
    small = encode(quarters(100, 300))
    with FaultServer(reply(200, answer(in_base64(png())))) as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        agent = create_agent(
            ScriptedChatModel(script=[calls({"prompt": "x", "images": ["upload_1"]}), AIMessage("Done.")]), [tool]
        )
        done = agent.invoke({"messages": [attached(small)]})
    (message,) = [message for message in done["messages"] if isinstance(message, ToolMessage)]
    sentence = "upload_1 was enlarged from 100x300 to 240x720 pixels: the service takes no side below 240."
    assert sentence in str(message.content)
    assert ImageResult.from_message(message, tool.store).adjustments == [sentence]


@pytest.mark.parametrize(
    "name", ["a PNG without image data", "rows that end in the middle", "half of a JPEG", "SVG", *ODD[:4]]
)
def test_an_odd_attachment_never_ends_the_conversation(name: str) -> None:
    """Every later turn goes on: the model is told what is wrong, or the image is used."""
    data = MADE[name]()
    with FaultServer(*[reply(200, answer(in_base64(png())))] * 3) as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        script = [
            calls({"prompt": "x", "images": ["upload_1"]}),
            AIMessage("Sorry, or done."),
            calls({"prompt": "a fox"}),
            AIMessage("A fox."),
        ]
        model = ScriptedChatModel(script=script)
        agent = create_agent(model, [tool], middleware=[WanImageMiddleware()])
        done = agent.invoke({"messages": [attached(data)]})
        done = agent.invoke({"messages": [*done["messages"], HumanMessage("Then a fox.")]})
    first, second = [message for message in done["messages"] if isinstance(message, ToolMessage)]
    assert second.status == "success"
    is_usable = name in ODD
    assert (first.status == "success") is is_usable
    if not is_usable:
        assert "upload_1" in str(first.content)
