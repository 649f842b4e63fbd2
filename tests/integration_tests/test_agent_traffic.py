"""What an agent's images cost everyone else: checkpoints, traces, streams, serialisers, and the event loop."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain.tools import tool as as_tool
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from PIL import Image

from langchain_wan import ImageResult, WanImageGenerator, WanImageTool, WanStore
from langchain_wan.middleware import WanImageMiddleware
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import THREAD, attached
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import png
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access

TURNS = 10


def large_png() -> bytes:
    """A picture of 20 MB."""
    noise = np.random.default_rng(1).integers(0, 256, (2600, 2600, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    return out.getvalue()


def conversation(tool: Any, path: Path) -> tuple[int, list[int]]:
    """Ten turns, an image in the first; the bytes of the last checkpoint, and of the trace of each turn."""
    script = [calls({"prompt": "a fox"}), *(AIMessage("Yes.") for _ in range(TURNS))]
    traces = []
    with SqliteSaver.from_conn_string(str(path)) as saver:
        agent = create_agent(ScriptedChatModel(script=script), tools=[tool], checkpointer=saver)
        for turn in range(TURNS):
            runs = RunCollectorCallbackHandler()
            config: RunnableConfig = {**THREAD, "callbacks": [runs]}
            agent.invoke({"messages": [HumanMessage(f"Turn {turn}.")]}, config)
            traces.append(sum(map(traced_bytes, runs.traced_runs)))
    with sqlite3.connect(path) as database:
        query = "SELECT length(checkpoint) FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
        (checkpoint,) = database.execute(query).fetchone()
    database.close()
    return checkpoint, traces


def traced_bytes(run: Any) -> int:
    """What a tracer uploads of a run and the runs within it."""
    own = len(dumps({"inputs": run.inputs, "outputs": run.outputs, "extra": run.extra, "events": run.events}))
    return own + sum(map(traced_bytes, run.child_runs))


@pytest.mark.filterwarnings("ignore:This conversation is checkpointed:UserWarning")
def test_a_large_image_leaves_checkpoints_and_traces_small(tmp_path: Path) -> None:
    @as_tool("wan_image")
    def plain(prompt: str) -> str:
        """Make an image."""
        return "ok"

    uri = f"data:image/png;base64,{base64.b64encode(large_png()).decode()}"
    with FaultServer(reply(200, answer(uri))) as server:
        tool = WanImageTool(**access(server))
        checkpoint, traces = conversation(tool, tmp_path / "images.sqlite")
        made = tool.store.get(tool.store.history()[0].images[0])
    assert made is not None
    assert made.size_bytes > 20_000_000
    plain_checkpoint, plain_traces = conversation(plain, tmp_path / "plain.sqlite")
    assert checkpoint - plain_checkpoint <= 25_000
    assert max(ours - theirs for ours, theirs in zip(traces, plain_traces, strict=True)) <= 10_000


async def test_progress_reaches_both_streams_of_a_graph(tool: WanImageTool) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Done.")])
    agent = create_agent(model, tools=[tool])
    custom: list[Any] = []
    deltas: list[Any] = []
    state: Any = {"messages": [HumanMessage("A fox.")]}
    stream: Any = agent.astream(state, stream_mode=["custom", "tools"])  # type: ignore[list-item]  # missing in its types
    async for mode, event in stream:
        if mode == "custom":
            custom.append(event)
        elif event["event"] == "tool-output-delta":
            deltas.append(event["delta"])
    stages = ["queued", "submitted", "answered", "stored", "done"]
    assert [event["stage"] for event in custom] == [event["stage"] for event in deltas] == stages
    assert all(event["type"] == "wan_image" and event["tool_call_id"] == "call_0" for event in custom)
    elapsed = [event["elapsed_s"] for event in custom]
    assert elapsed == sorted(elapsed)


def test_the_blocking_tool_streams_too_and_a_supervisors_stream_has_the_images(tool: WanImageTool) -> None:
    worker = create_agent(
        ScriptedChatModel(script=[calls({"prompt": "a fox", "n": 2}), AIMessage("Done.")]), tools=[tool]
    )

    @as_tool
    def illustrate(task: str) -> str:
        """Make pictures."""
        return str(worker.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

    model = ScriptedChatModel(script=[calls({"task": "foxes"}, name="illustrate"), AIMessage("Done.")])
    agent = create_agent(model, tools=[illustrate])
    state: Any = {"messages": [HumanMessage("Foxes.")]}
    events: list[Any] = [event for _, event in agent.stream(state, stream_mode="custom", subgraphs=True)]
    done = [event for event in events if event["stage"] == "done"]
    assert len(done) == 1
    assert [image["width"] for image in done[0]["images"]] == [1024, 1024]
    assert all(image["url"] for image in done[0]["images"])
    assert Decimal(done[0]["cost_usd"]) == Decimal("0.06")


def test_a_failure_is_an_event_too() -> None:
    with Sandbox(faults=["insufficient_credits"]) as service:
        tool = WanImageTool(**access(service))
        model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Sorry.")])
        state: Any = {"messages": [HumanMessage("A fox.")]}
        events: list[Any] = list(create_agent(model, tools=[tool]).stream(state, stream_mode="custom"))
    assert events[-1]["stage"] == "failed"
    assert events[-1]["error"]["type"] == "InsufficientCreditError"
    assert events[-1]["error"]["charged"] == "no"


def test_the_loop_is_never_blocked(tmp_path: Path) -> None:
    """Every blocking call on the loop's thread raises: SQLite, files, sockets, sleeping."""

    async def main(tool: WanImageTool, store: WanStore) -> None:
        script = [
            calls({"prompt": "a fox", "images": ["upload_1"]}),
            calls({"prompt": "b", "images": ["img_0000000000000"]}, start=1),
            AIMessage("Done."),
        ]
        agent = create_agent(
            ScriptedChatModel(script=script),
            tools=[tool],
            middleware=[WanImageMiddleware()],
            checkpointer=InMemorySaver(),
        )
        state: Any = {"messages": [attached(png())]}
        with blockbuster_ctx("langchain_wan"):
            done = await agent.ainvoke(state, THREAD)
            made, refused = [message for message in done["messages"] if isinstance(message, ToolMessage)]
            assert (made.status, refused.status) == ("success", "error")
            image = await store.aget(made.artifact["images"][0]["id"])
            assert image is not None
            assert await image.aread()
            await image.asave(tmp_path / "fox.png")
            await store.aadd(png("blue"))
            assert await store.ahistory()
            assert await store.aunfinished() == []
            assert await tool.generator.ainvoke("another")

    with Sandbox() as service:
        store = WanStore(tmp_path / "images")
        tool = WanImageTool(**access(service, store=store))
        asyncio.run(main(tool, store))


def test_blockbuster_would_have_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        with blockbuster_ctx("langchain_wan"), pytest.raises(Exception, match="Blocking call"):
            WanStore(tmp_path / "images").history()

    asyncio.run(main())


class TestSerialisation:
    """A result goes through every serialiser that stands between a tool and a browser."""

    @pytest.fixture
    def result(self, sandbox: Sandbox) -> ImageResult:
        return WanImageGenerator(**access(sandbox)).invoke({"prompt": "a fox", "metadata": {"page": "3"}})

    @pytest.fixture
    def message(self, tool: WanImageTool) -> ToolMessage:
        call = {"type": "tool_call", "id": "c1", "name": "wan_image", "args": {"prompt": "a fox"}}
        made: ToolMessage = tool.invoke(call)
        return made

    def test_json(self, result: ImageResult) -> None:
        assert ImageResult.model_validate_json(result.model_dump_json()) == result
        assert ImageResult.model_validate(json.loads(json.dumps(result.model_dump(mode="json")))) == result

    def test_msgpack_of_a_message_keeps_the_artifact(self, message: ToolMessage) -> None:
        serializer = JsonPlusSerializer()
        back = serializer.loads_typed(serializer.dumps_typed({"messages": [message]}))["messages"][0]
        assert back.artifact == message.artifact
        assert ImageResult.from_message(back).images[0].read()

    def test_msgpack_of_a_result_in_a_state(self, result: ImageResult) -> None:
        serializer = JsonPlusSerializer(allowed_msgpack_modules=[ImageResult])
        back = serializer.loads_typed(serializer.dumps_typed({"result": result}))["result"]
        assert ImageResult.model_validate(back if isinstance(back, dict) else back.model_dump()) == result

    def test_as_a_remote_runnable_sends_it(self, result: ImageResult, message: ToolMessage) -> None:
        """Servers of runnables dump pydantic models in Python mode and give them to orjson."""

        def default(value: Any) -> Any:
            if hasattr(value, "model_dump"):
                return value.model_dump()
            return str(value)

        assert ImageResult.model_validate(orjson.loads(orjson.dumps(result, default=default))) == result
        assert orjson.loads(orjson.dumps(message, default=default))["artifact"] == message.artifact


def test_on_image_gives_the_url_that_everyone_sees(sandbox: Sandbox) -> None:
    def to_bucket(image: Any) -> str:
        return f"https://cdn.example.com/{image.id}.png"

    tool = WanImageTool(**access(sandbox, on_image=to_bucket))
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Done.")])
    done = create_agent(model, tools=[tool]).invoke({"messages": [HumanMessage("A fox.")]})
    answer = done["messages"][2]
    image = answer.artifact["images"][0]
    assert image["url"] == f"https://cdn.example.com/{image['id']}.png"
    assert image["url"] in answer.content
    assert image["expires_at"] is None
