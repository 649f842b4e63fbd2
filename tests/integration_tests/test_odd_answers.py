"""Odd answers of a server that counts: the paid image arrives with one request, or is kept until it is read."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from langchain_wan import Budget, ImageRequest, ImageResult, WanClient, WanImageTool, WanStore, errors
from langchain_wan._services import image_prose, image_search
from tests.support.entrances import run, to_call, to_config
from tests.support.examples import examples
from tests.support.fault_server import FaultServer, Received, refusal, reply
from tests.support.images import encode, png
from tests.support.odd_answers import FRAMES, PLACES, SPELLINGS, message
from tests.support.paid_call import PRICE, ZERO
from tests.support.services import Generate, access, build_client

RED = png("red")
TEXT = base64.b64encode(RED).decode()
Answer = Callable[[str], bytes]


def by_url(answer: Answer) -> Any:
    """Answer with the URL of an image on the same server."""

    def behave(connection: Any, request: Received) -> None:
        reply(200, answer(f"http://{request.headers['host']}/red.png"))(connection, request)

    return behave


@examples(25)
@given(
    st.sampled_from(sorted(SPELLINGS)),
    st.sampled_from(sorted(PLACES)),
    st.sampled_from(sorted(FRAMES)),
    st.booleans(),
    st.booleans(),
)
def test_the_paid_image_arrives_with_one_request(
    spelling: str, place: str, frame: str, is_url: bool, is_async: bool
) -> None:
    def answer(text: str) -> bytes:
        return FRAMES[frame](PLACES[place](SPELLINGS[spelling](text)))

    script = by_url(answer) if is_url else reply(200, answer(TEXT), [("Content-Type", "text/html")])
    with FaultServer(script, files={"/red.png": reply(200, RED)}) as server:
        client = build_client(server, store=WanStore())
        result = asyncio.run(client.agenerate("a fox")) if is_async else client.generate("a fox")
        assert [image.read() for image in result.images] == [RED]
        assert result.cost_usd == PRICE
        assert len(server.posts) == 1


def test_a_repeated_input_image_is_no_result_and_its_request_is_sent_once(generate: Generate) -> None:
    echo = json.dumps(message(content="", images=[f"data:image/png;base64,{TEXT}"])).encode()
    with FaultServer(reply(200, echo)) as server:
        client = build_client(server, store=WanStore())
        with pytest.raises(errors.UnreadableAnswerError):
            generate(client, ImageRequest(prompt="make it blue", images=(RED,)))
        assert len(server.posts) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_refusal_in_words_reaches_the_model_as_a_quotation(asynchronous: bool) -> None:
    said = json.dumps(message(content="I can't create images of real people.")).encode()
    with FaultServer(reply(200, said)) as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        answer = run(tool, to_call({"prompt": "a fox"}), to_config("1"), asynchronous=asynchronous)
        assert len(server.posts) == 1
    assert answer.status == "error"
    assert answer.content.endswith('The service said: "I can\'t create images of real people."')
    assert answer.artifact["error"]["charged"] == "maybe"


def test_a_refusal_by_moderation_reaches_the_model_as_a_quotation(asynchronous: bool) -> None:
    with FaultServer(reply(400, refusal("data_inspection_failed", "Input shows a real person."))) as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        answer = run(tool, to_call({"prompt": "a fox"}), to_config("1"), asynchronous=asynchronous)
    assert answer.content.endswith('The service said: "Input shows a real person."')


def _resume(client: WanClient, *, is_async: bool) -> list[ImageResult]:
    return asyncio.run(client.aresume()) if is_async else client.resume()


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
@pytest.mark.parametrize(
    "budget", [Budget, lambda **limit: Budget(name="all", **limit)], ids=["of the process", "named"]
)
def test_an_answer_that_no_version_could_read_is_read_by_one_that_can(
    budget: Callable[..., Budget], is_async: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(message(content="", images=[{"image_url": {"url": TEXT}}])).encode()
    limit = budget(max_usd=1)
    with FaultServer(reply(200, body)) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=limit)
        with monkeypatch.context() as earlier:
            earlier.setattr(image_search, "find_images", lambda value, inputs: [])
            earlier.setattr(image_prose, "find_images", lambda text: ([], text))
            with pytest.raises(errors.UnreadableAnswerError):
                client.generate("a fox")
            assert _resume(client, is_async=is_async) == []
            assert [entry.state for entry in client.store.history()] == ["uncertain"]
            assert (limit.spent_usd, limit.held_usd) == (ZERO, PRICE)
        (result,) = _resume(client, is_async=is_async)
        assert [image.read() for image in result.images] == [RED]
        assert _resume(client, is_async=is_async) == []
        assert client.generate("a fox", call=None).images  # nothing is in the way of an identical request any more
        assert len(server.posts) == 2
    assert [entry.state for entry in client.store.history()] == ["done", "done"]
    assert (limit.spent_usd, limit.held_usd) == (2 * PRICE, ZERO)
    assert list((tmp_path / "raw").iterdir()) == []


def test_an_answer_that_still_can_not_be_read_stays_as_it_is(tmp_path: Path, generate: Generate) -> None:
    with FaultServer(reply(200, b'{"choices": []}')) as server:
        client = build_client(server, store=WanStore(tmp_path))
        with pytest.raises(errors.UnreadableAnswerError) as first:
            generate(client, "a fox")
        for _ in range(2):
            assert client.resume() == []
            with pytest.raises(errors.UnreadableAnswerError) as again:
                generate(client, "a fox")
            assert again.value.operation_id == first.value.operation_id
        assert len(server.posts) == 1
    assert len(list((tmp_path / "raw").iterdir())) == 1


def test_an_uncertain_call_without_an_answer_is_not_resumed(tmp_path: Path) -> None:
    with FaultServer(reply(500)) as server:
        client = build_client(server, store=WanStore(tmp_path))
        with pytest.raises(errors.PaymentUncertainError):
            client.generate("a fox")
        assert client.resume() == []
    assert [entry.state for entry in client.store.history()] == ["uncertain"]


def test_a_jpeg_that_ends_within_its_end_marker_is_delivered_and_uploaded(generate: Generate) -> None:
    cut = encode(Image.new("RGB", (300, 300), "red"), "JPEG")[:-1]
    with FaultServer(reply(200, json.dumps(message(content=base64.b64encode(cut).decode())).encode())) as server:
        client = build_client(server, store=WanStore())
        assert generate(client, "a fox").images[0].read() == cut
        assert generate(client, ImageRequest(prompt="make it blue", images=(cut,))).images
        assert len(server.posts) == 2
