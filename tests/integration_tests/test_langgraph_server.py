"""An agent with the tool in LangGraph's own development server: another process, its own checkpoints, event loops."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_sync_client

from langchain_wan import ImageResult, WanStore
from langchain_wan.sandbox import Sandbox
from tests.support.images import png
from tests.support.services import posts

AGENT = '''
import json

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_wan import WanImageTool
from langchain_wan.middleware import WanImageMiddleware


class Obedient(BaseChatModel):
    """Calls the tool with the arguments that the user writes as JSON, as often as `times` says."""

    @property
    def _llm_type(self):
        return "obedient"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        asked = max(index for index, message in enumerate(messages) if message.type == "human")
        text = messages[asked].text
        arguments, _ = json.JSONDecoder().raw_decode(text[text.index("{"):])
        made = sum(message.type == "tool" for message in messages[asked:])
        if made < arguments.pop("times", 1):
            call = {"name": "wan_image", "args": arguments, "id": f"call_{made}", "type": "tool_call"}
            message = AIMessage("", tool_calls=[call])
        else:
            message = AIMessage(messages[-1].text)
        return ChatResult(generations=[ChatGeneration(message=message)])


agent = create_agent(Obedient(), tools=[WanImageTool()], middleware=[WanImageMiddleware(show_last=0)])
'''


class Server:
    """The server, started in a folder that keeps its checkpoints; `log` is what it printed."""

    def __init__(self, folder: Path, service: Sandbox) -> None:
        self.folder, self.service = folder, service
        (folder / "agent.py").write_text(AGENT)
        (folder / "langgraph.json").write_text('{"dependencies": ["."], "graphs": {"agent": "./agent.py:agent"}}')

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @contextmanager
    def running(self) -> Iterator[Any]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = {
            **os.environ,
            "AISA_API_KEY": self.service.api_key,
            "AISA_BASE_URL": self.service.url,
            "LANGCHAIN_WAN_STORE": str(self.folder / "images"),
            "LANGSMITH_TRACING": "false",
        }
        command = [str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
            try:
                url = f"http://127.0.0.1:{port}"
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    try:
                        httpx.get(f"{url}/ok").raise_for_status()
                        break
                    except httpx.HTTPError:
                        time.sleep(0.1)
                with get_sync_client(url=url) as client:
                    yield client
            finally:
                process.terminate()
                process.wait()


@pytest.fixture
def service() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def ask(client: Any, thread: str, attached: bytes | None = None, **arguments: Any) -> Any:
    """Ask for an image in a thread; return the message of the tool."""
    content: list[dict[str, Any]] = [{"type": "text", "text": json.dumps(arguments)}]
    if attached is not None:
        encoded = base64.b64encode(attached).decode()
        content.append({"type": "image", "base64": encoded, "mime_type": "image/png"})
    state = client.runs.wait(thread, "agent", input={"messages": [{"role": "user", "content": content}]})
    return newest_tool_message(state)


def newest_tool_message(state: Any) -> Any:
    return next(message for message in reversed(state["messages"]) if message["type"] == "tool")


def new_thread(client: Any) -> str:
    return str(client.threads.create()["thread_id"])


def image_sent(service: Sandbox) -> bytes:
    uri = posts(service)[-1].json["messages"][0]["content"][0]["image_url"]["url"]
    return base64.b64decode(uri.partition(",")[2])


def test_uploads_edits_threads_interrupts_forks_and_a_restart_in_langgraphs_server(
    service: Sandbox, tmp_path: Path
) -> None:
    server = Server(tmp_path, service)
    photo, other = png("green"), png("yellow")
    with server.running() as client:
        annas, bens = new_thread(client), new_thread(client)
        edited = ask(client, annas, photo, prompt="make it night", images=["upload_1"])
        assert image_sent(service) == photo
        first = edited["artifact"]["images"][0]["id"]

        ask(client, bens, other, prompt="make it day", images=["upload_1"])
        assert image_sent(service) == other
        refused = ask(client, bens, prompt="make it blue", images=[first])
        assert refused["status"] == "error"
        assert first not in refused["content"]
        assert len(posts(service)) == 2

        # The same threads through RemoteGraph, as a graph of another program calls this one.
        remote = RemoteGraph("agent", sync_client=client)
        config: RunnableConfig = {"configurable": {"thread_id": annas}}
        afar = json.dumps({"prompt": "from afar", "images": ["upload_1"]})
        state: Any = remote.invoke({"messages": [{"role": "user", "content": afar}]}, config)
        assert image_sent(service) == photo
        result = ImageResult.from_message(state["messages"][-2], WanStore(tmp_path / "images"))
        assert result.images[0].read().startswith(b"\x89PNG")
        afar = json.dumps({"prompt": "from afar", "images": [first]})
        config = {"configurable": {"thread_id": bens}}
        state = remote.invoke({"messages": [{"role": "user", "content": afar}]}, config)
        assert state["messages"][-2]["status"] == "error"
        assert len(posts(service)) == 3

        # Interrupted before the tool runs, and resumed.
        question = {"messages": [{"role": "user", "content": json.dumps({"prompt": "again", "images": [first]})}]}
        client.runs.wait(annas, "agent", input=question, interrupt_before=["tools"])
        assert len(posts(service)) == 3
        resumed = newest_tool_message(client.runs.wait(annas, "agent", input=None))
        assert len(posts(service)) == 4
        assert resumed["status"] == "success"

        # A fork from before that question: the same thread, other words.
        states = client.threads.get_history(annas)
        before = next(state for state in states if not state["next"] and len(state["values"]["messages"]) == 8)
        words = {"messages": [{"role": "user", "content": json.dumps({"prompt": "a fork", "images": [first]})}]}
        forked = client.runs.wait(annas, "agent", input=words, checkpoint_id=before["checkpoint"]["checkpoint_id"])
        assert newest_tool_message(forked)["status"] == "success"
        assert len(posts(service)) == 5

    with server.running() as client:  # another process: ids and uploads are known again
        ask(client, annas, prompt="after the restart", images=["upload_1"])
        assert image_sent(service) == photo
        stored = WanStore(tmp_path / "images").get(first)
        assert stored is not None
        ask(client, annas, prompt="after the restart", images=[first])
        assert image_sent(service) == stored.read()
        assert ask(client, bens, prompt="not hers", images=[first])["status"] == "error"
        assert len(posts(service)) == 7
    assert "Blocking call" not in server.log


def test_a_remote_graph_reports_progress_pays_once_and_knows_ids_after_a_restart(tmp_path: Path) -> None:
    with Sandbox(faults=[None, "disconnect"]) as service:
        server = Server(tmp_path, service)
        with server.running() as client:
            remote = RemoteGraph("agent", sync_client=client)
            config: RunnableConfig = {"configurable": {"thread_id": new_thread(client)}}
            question = to_question(prompt="a fox")
            stages = [event["stage"] for event in remote.stream(question, config, stream_mode="custom")]
            assert (stages[0], stages[-1]) == ("queued", "done")

            state: Any = remote.invoke(to_question(prompt="a hare", times=2), config)
            answers = [message for message in state["messages"] if message["type"] == "tool"]
            errors = [answer["artifact"]["error"]["type"] for answer in answers[1:]]
            assert errors == ["PaymentUncertainError"] * 2
            assert len(posts(service)) == 2
            made = answers[0]["artifact"]["images"][0]["id"]

        with server.running() as client:
            remote = RemoteGraph("agent", sync_client=client)
            state = remote.invoke(to_question(prompt="night", images=[made]), config)
            assert newest_tool_message(state)["status"] == "success"
            stored = WanStore(tmp_path / "images").get(made)
            assert stored is not None
            assert image_sent(service) == stored.read()


def to_question(**arguments: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": json.dumps(arguments)}]}
