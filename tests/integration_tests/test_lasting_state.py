"""Requests and results that are kept: in the state of a graph, in a node's cache, as JSON of a web server."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path
from typing import Any, TypedDict

import orjson
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, interrupt
from PIL import Image

from langchain_wan import ImageRequest, ImageResult, WanImageGenerator, WanImageTool, WanStore
from langchain_wan.sandbox import Sandbox
from tests.support.images import png
from tests.support.services import access, posts

ALLOWED = [("langchain_wan.requests", "ImageRequest"), ("langchain_wan.requests", "InlineImage")]
ALLOWED += [("langchain_wan.models", "ImageResult"), ("langchain_wan.models", "GeneratedImage")]
ENCODED = base64.b64encode(png()).decode()
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}


class State(TypedDict, total=False):
    request: Any
    result: Any


def sources(folder: Path) -> dict[str, Any]:
    (folder / "fox.png").write_bytes(png())
    return {
        "bytes": png(),
        "Path": folder / "fox.png",
        "data URI": f"data:image/png;base64,{ENCODED}",
        "block": {"type": "image", "base64": ENCODED, "mime_type": "image/png"},
    }


def saver(kind: str, folder: Path, *, strict: bool) -> Any:
    serde = JsonPlusSerializer(allowed_msgpack_modules=None if strict else ALLOWED)
    if kind == "memory":
        return InMemorySaver(serde=serde)
    connection = sqlite3.connect(folder / "checkpoints.sqlite3", check_same_thread=False)
    return SqliteSaver(connection, serde=serde)


@pytest.mark.parametrize("strict", [False, True], ids=["classes", "strict"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("name", ["bytes", "Path", "data URI", "block"])
def test_a_request_with_an_image_comes_back_whole_from_a_checkpoint(
    name: str, kind: str, strict: bool, tmp_path: Path, sandbox: Sandbox
) -> None:
    request = ImageRequest(prompt="make it night", images=[sources(tmp_path)[name]])
    images = WanImageGenerator(**access(sandbox))

    def ask(state: State) -> State:
        return {"request": request}

    def wait(state: State) -> State:
        interrupt("go on?")
        again = ImageRequest.model_validate(state["request"])
        return {"result": images.invoke(again)}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_node("wait", wait)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "wait")
    graph.add_edge("wait", END)
    checkpointer = saver(kind, tmp_path, strict=strict)
    compiled = graph.compile(checkpointer=checkpointer)
    compiled.invoke({}, THREAD)
    from langgraph.types import Command

    compiled.invoke(Command(resume="yes"), THREAD)
    (sent,) = posts(sandbox)
    assert sent.json["messages"][0]["content"][0]["image_url"]["url"] == f"data:image/png;base64,{ENCODED}"
    if kind == "sqlite":
        checkpointer.conn.close()


def test_a_pillow_image_is_refused_when_it_is_put_into_a_checkpoint() -> None:
    request = ImageRequest(prompt="make it night", images=[Image.new("RGB", (300, 300))])
    with pytest.raises(TypeError, match="not msgpack serializable"):
        JsonPlusSerializer().dumps_typed(request)


@pytest.mark.parametrize("strict", [False, True], ids=["classes", "strict"])
def test_a_result_from_a_checkpoint_reads_its_bytes_from_the_store_that_it_is_attached_to(
    strict: bool, sandbox: Sandbox, tmp_path: Path
) -> None:
    store = WanStore(tmp_path / "images")
    serde = JsonPlusSerializer(allowed_msgpack_modules=None if strict else ALLOWED)
    result = WanImageGenerator(**access(sandbox, store=store)).invoke("a fox")
    kept = serde.loads_typed(serde.dumps_typed({"result": result}))["result"]
    again = ImageResult.model_validate(kept).attach(WanStore(tmp_path / "images"))
    assert again == result
    assert again.images[0].read() == result.images[0].read()


def test_a_result_from_the_cache_of_a_node_reads_its_bytes(sandbox: Sandbox, tmp_path: Path) -> None:
    store = WanStore(tmp_path)
    images = WanImageGenerator(**access(sandbox, store=store))

    def draw(state: State) -> State:
        return {"result": images.invoke("a fox")}

    graph = StateGraph(State)
    graph.add_node("draw", draw, cache_policy=CachePolicy())
    graph.add_edge(START, "draw")
    graph.add_edge("draw", END)
    compiled = graph.compile(cache=InMemoryCache(serde=JsonPlusSerializer(allowed_msgpack_modules=ALLOWED)))
    first, second = compiled.invoke({})["result"], compiled.invoke({})["result"]
    assert len(posts(sandbox)) == 1
    assert ImageResult.model_validate(second).attach(store).images[0].read() == first.images[0].read()


def test_every_encoder_that_asks_pydantic_can_write_a_result(sandbox: Sandbox) -> None:
    result = WanImageGenerator(**access(sandbox)).invoke("a fox")
    assert ImageResult.model_validate(orjson.loads(orjson.dumps(result.model_dump()))) == result


@pytest.mark.filterwarnings("ignore::DeprecationWarning:langserve")
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
def test_langserve_answers_with_the_result(sandbox: Sandbox) -> None:
    from langserve import add_routes

    app = FastAPI()
    add_routes(app, WanImageGenerator(**access(sandbox)), path="/images", enabled_endpoints=["invoke"])
    with TestClient(app) as client:
        answer = client.post("/images/invoke", json={"input": "a fox"})
    assert answer.status_code == 200
    assert ImageResult.model_validate(answer.json()["output"]).cost_usd.is_finite()
    assert len(posts(sandbox)) == 1


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
async def test_a_tool_that_returns_content_alone_gives_the_text(asynchronous: bool, sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox), response_format="content")
    call = {"name": "wan_image", "args": {"prompt": "a fox"}, "id": "c1", "type": "tool_call"}
    message = await tool.ainvoke(call) if asynchronous else tool.invoke(call)
    assert message.content.startswith("1 image by wan2.7-image, $0.03.\nimg_")
    assert "{" not in message.content
