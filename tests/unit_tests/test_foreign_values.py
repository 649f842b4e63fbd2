"""What a service, a file or a client says is made to fit, once, where it is read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import ValidationError

from langchain_wan import GeneratedImage, ImageRequest, WanClient, WanImageTool, WanStore, errors
from langchain_wan._media.blocks import block_source, is_image_block
from langchain_wan._services.foreign_text import MAX_CHARACTERS, MAX_INTEGER, MAX_VALUES, clean_text, make_storable
from tests.support.fault_server import KEY, FaultServer, reply
from tests.support.images import data_uri
from tests.support.services import Generate

ODD_USAGE = {
    "an integer of 70 bits": {"tokens": 2**70},
    "a negative integer of 70 bits": {"tokens": -(2**70)},
    "an integer of 4000 digits": {"tokens": int("9" * 4000)},
    "not a number": {"tokens": math.nan},
    "infinity": {"tokens": [math.inf, -math.inf]},
    "30 MB of text": {"text": "x" * (30 * 2**20)},
    "30 MB of numbers": {"numbers": list(range(4 * 2**20))},
    "many names": {f"name {number}": number for number in range(2**17)},
    "long names": {f"{number}" * 2**10: number for number in range(2**10)},
    "a deep list": {"deep": json.loads("[" * 150 + "]" * 150)},
    "a wide tree": {"wide": [[[[0] * 20] * 20] * 20] * 20},
    "lone surrogates": {"\ud800": "\udfff"},
    "control characters": {"\x1b]52;c;eA==\x07\x00": "\x00\x9b31m\u202e"},
}


def answer(usage: Any, **more: Any) -> bytes:
    content = [{"image": data_uri()}]
    return json.dumps({"choices": [{"message": {"content": content}}], "usage": usage, **more}).encode()


@pytest.mark.parametrize("kind", ODD_USAGE)
def test_an_odd_usage_of_a_paid_answer_fits_every_checkpoint_and_database(kind: str, generate: Generate) -> None:
    with FaultServer(reply(200, answer(ODD_USAGE[kind]))) as server:
        store = WanStore()
        client = WanClient(base_url=server.url, api_key=KEY, store=store)
        result = generate(client, ImageRequest(prompt="a fox", operation_id="once"))
        assert result.images
        again = generate(client, ImageRequest(prompt="a fox", operation_id="once"))
        assert len(server.posts) == 1
    assert again.usage == result.usage
    kept = JsonPlusSerializer().dumps_typed(result)
    assert len(kept[1]) < 100_000
    assert len(result.model_dump_json()) < 100_000
    json.dumps(result.model_dump(mode="json"), allow_nan=False).encode()


@pytest.mark.parametrize("notes", [["x" * 10_000] * 10, ["a note"] * 100_000, [{"text": "b" * 9_000}] * 5_000])
def test_the_notes_of_an_answer_are_few_and_short(notes: list[Any], generate: Generate) -> None:
    body = json.dumps({"choices": [{"message": {"content": [{"image": data_uri()}, *notes]}}]}).encode()
    with FaultServer(reply(200, body)) as server:
        result = generate(WanClient(base_url=server.url, api_key=KEY, store=WanStore()), "a fox")
    assert 0 < len(result.notes) <= 20
    assert max(map(len, result.notes)) <= 2_000


@pytest.mark.parametrize("name", ["X-Request-Id", "body"])
def test_a_request_id_is_short_and_can_be_shown(name: str, generate: Generate) -> None:
    headers = [(name, "\xff\x9b" * 20_000)] if name != "body" else []
    body = answer({}, request_id="\x1b\x00\ud800" + "i" * 10**6)
    with FaultServer(reply(200, body if name == "body" else answer({}), headers)) as server:
        result = generate(WanClient(base_url=server.url, api_key=KEY, store=WanStore()), "a fox")
    assert result.request_id is not None
    assert len(result.request_id) <= 200
    assert all(char.isprintable() for char in result.request_id)


@pytest.mark.parametrize(
    "balance",
    [None, "many", "1e400", "12", [], {}, True, math.nan, math.inf, -math.inf, 2**70, int("9" * 4000), 1e300],
)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_balance_that_is_not_a_number_of_dollars_is_an_error_of_ours(balance: Any, asynchronous: bool) -> None:
    body = json.dumps({"available_balance_micros_usd": balance}).encode()
    with FaultServer(files={"/v1/credits/balance": reply(200, body)}) as server:
        client = WanClient(base_url=server.url, api_key=KEY, store=WanStore())
        with pytest.raises(errors.StatusError, match="no balance"):
            await client.abalance() if asynchronous else client.balance()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=50,
)


@given(JSON)
def test_any_json_is_storable(value: Any) -> None:
    stored = make_storable(value)
    text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
    assert json.loads(text) == stored
    JsonPlusSerializer().dumps_typed(stored)
    assert make_storable(stored) == stored


def test_what_fits_stays_as_it_is() -> None:
    usage = {"total_tokens": MAX_INTEGER, "cost": -0.5, "ok": True, "none": None, "list": [1, {"a": "text\n\tmore"}]}
    assert make_storable(usage) == usage


def test_a_value_keeps_as_much_as_it_may() -> None:
    assert len(make_storable(list(range(10**6)))) == MAX_VALUES - 1
    assert len(make_storable("x" * 10**6)) == MAX_CHARACTERS
    assert make_storable(2**64) == MAX_INTEGER
    assert make_storable(-(2**64)) == -MAX_INTEGER - 1


@pytest.mark.parametrize(
    "text", ["?" * 6000, "?=" * 3000, "a?" * 3000, "=" * 6000, "<" * 6000, "a:" * 3000, "1." * 3000]
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_refusal_of_odd_characters_is_cleaned_at_once(text: str, status: int, generate: Generate) -> None:
    body = json.dumps({"error": {"code": "invalid_parameter_error", "message": text}}).encode()
    with FaultServer(reply(status, body)) as server, pytest.raises(errors.StatusError) as caught:
        generate(WanClient(base_url=server.url, api_key=KEY, store=WanStore()), "a fox")
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("see x?a=b now", "see [url] now"),
        ("?a=b", "?a=b"),
        ("??a=b", "[url]"),
        ("a=b?c", "a=b?c"),
        ("what? a=b", "what? a=b"),
        ("oss.example/x.png?Expires=1&Signature=z", "[url]"),
    ],
)
def test_a_query_is_known_by_a_question_mark_before_an_equals_sign(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


NESTS = ("source", "image_url", "image", "file", "inline_data", "resource", "value")


def test_a_block_that_is_nested_in_every_way_is_looked_through_in_a_few_steps() -> None:
    looked: list[str] = []

    class Counting(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            looked.append(key)
            return super().get(key, default)

    block = Counting(type="image")
    for _ in range(6):
        block = Counting({"type": "image", **dict.fromkeys(NESTS, block)})
    is_image_block(block)
    assert block_source(block) is None
    assert len(looked) < 200_000  # 11 to the power of 8 before
    around = Counting(type="image")
    around.update(dict.fromkeys(NESTS, around))
    assert block_source(around) is None


@pytest.mark.parametrize(
    "facts", [{"width": 2**70}, {"height": -1}, {"size_bytes": 10**30}, {"mime_type": "x" * 1000}, {"width": math.inf}]
)
def test_an_image_that_a_client_posts_has_the_size_of_an_image(facts: dict[str, Any]) -> None:
    image = {"id": "img_" + "0" * 13, "mime_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    with pytest.raises(ValidationError):
        GeneratedImage.model_validate({**image, "sha256": "0" * 64, **facts})


@pytest.mark.parametrize("metadata", [{"k": "\ud800"}, {"\udfff": "k"}, {"k": "x" * 100_001}])
def test_metadata_that_no_checkpoint_can_hold_is_refused_before_anything_is_paid(metadata: dict[str, str]) -> None:
    with FaultServer() as server:
        client = WanClient(base_url=server.url, api_key=KEY, store=WanStore())
        with pytest.raises(errors.InvalidImageRequestError, match="metadata"):
            client.generate({"prompt": "a fox", "metadata": metadata})
        assert server.requests == []


def test_a_tool_whose_answer_has_an_odd_usage_leaves_a_message_that_can_be_kept() -> None:
    with FaultServer(reply(200, answer({"tokens": 2**70, "more": ["x" * 10**6] * 30}))) as server:
        tool = WanImageTool(base_url=server.url, api_key=KEY, store=WanStore())
        message = tool.invoke({"type": "tool_call", "id": "call", "name": tool.name, "args": {"prompt": "a fox"}})
    assert len(JsonPlusSerializer().dumps_typed(message)[1]) < 100_000
