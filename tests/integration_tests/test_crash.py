"""Killed between any two steps, then started again: never paid twice, nothing paid lost, no half file readable.

`CRASH_ROUNDS` says how often each step is tried (`make crash`: 20).
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import ImageRequest, WanStore, errors
from tests.support.fault_server import KEY, Behaviour, FaultServer, answer, reply, silence
from tests.support.faults import is_killed_at
from tests.support.images import data_uri, png
from tests.support.processes import Program, run_program
from tests.support.services import build_client

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "1"))
MOST_STEPS = 20


def check(server: FaultServer, folder: Path) -> str:
    """Start again after a kill; return how the operation ended."""
    store = WanStore(folder)
    client = build_client(server, store=store)
    before = len(server.posts)
    resumed = client.resume()
    assert len(server.posts) == before
    listed = {entry.operation_id: entry.state for entry in store.unfinished()}
    try:
        result = client.generate(ImageRequest(prompt="a fox", n=2, operation_id="mine"))
    except errors.PaymentUncertainError:
        assert listed == {"mine": "uncertain"}
        ended = "uncertain" if before else "uncertain, not sent"
    else:
        assert len(result.images) == 2
        assert all(image.read() for image in result.images)
        ended = "resumed" if resumed else "replayed" if result.replayed else "paid"
    assert len(server.posts) <= 1
    if before:  # what was paid is stored, or listed
        assert ended != "paid"
    for blob in (folder / "blobs").glob("*/*"):
        if not blob.name.endswith(".part"):
            assert store.read(blob.name) in {png("red"), png("blue")}
    return ended


@pytest.mark.parametrize("form", ["urls", "base64"])
def test_a_kill_before_any_step_pays_at_most_once(form: str, tmp_path: Path) -> None:
    ends = []
    for number in range(ROUNDS):
        for step in range(MOST_STEPS + 1):
            folder = tmp_path / f"{number}-{step}"
            files: dict[str, Behaviour | list[Behaviour]] = {
                "/a.png": reply(200, png("red")),
                "/b.png": reply(200, png("blue")),
            }
            with FaultServer(files=files) as server:
                urls = [f"{server.origin}/a.png", f"{server.origin}/b.png"]
                shown = urls if form == "urls" else [data_uri("red"), data_uri("blue")]
                server._script = [reply(200, answer(*shown))]
                killed = is_killed_at(step, server.url, KEY, folder)
                ends.append(check(server, folder))
            if not killed:
                break
        else:
            pytest.fail("the flow has more steps than the test kills at")
    assert {"paid", "uncertain", "uncertain, not sent", "resumed", "replayed"} == set(ends)
    # Only a kill between the line that says so and the request itself, which is one step of the flow.
    assert ends.count("uncertain, not sent") == ROUNDS


AGENT = """
import sqlite3, sys
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langchain_wan import WanStore, WanImageTool
from tests.support.scripted_model import ScriptedChatModel, calls

url, key, folder, again = sys.argv[1:5]
two = [calls({"prompt": "a fox"}, {"prompt": "a wolf"})]
model = ScriptedChatModel(script=[AIMessage("Done.")] if again == "again" else [*two, AIMessage("Done.")])
tool = WanImageTool(base_url=url, api_key=key, store=WanStore(folder + "/store"))
saver = SqliteSaver(sqlite3.connect(folder + "/checkpoints.sqlite3", check_same_thread=False))
agent = create_agent(model, tools=[tool], checkpointer=saver)
state = None if again == "again" else {"messages": [HumanMessage("a fox and a wolf")]}
done = agent.invoke(state, {"configurable": {"thread_id": "1"}}, durability="sync")
import json
print(json.dumps([message.artifact for message in done["messages"] if message.type == "tool"]))
"""


def test_an_agent_killed_in_two_parallel_calls_and_resumed_has_sent_two_requests(tmp_path: Path) -> None:
    def fox_or_silence(connection: Any, request: Any) -> None:
        is_fox = "a fox" in json.dumps(request.json)
        (reply(200, answer(data_uri())) if is_fox else silence())(connection, request)

    with FaultServer(fox_or_silence) as server:
        with Program(AGENT, server.url, KEY, tmp_path, "first"):  # killed at the end of the block
            wait_for_a_finished_fox(server, tmp_path / "store")
        again = run_program(AGENT, server.url, KEY, tmp_path, "again")
        assert again.returncode == 0, again.stderr
        fox, wolf = json.loads(again.stdout)
        assert len(server.posts) == 2
    assert fox["images"]
    assert wolf["error"]["charged"] == "maybe"


def wait_for_a_finished_fox(server: FaultServer, folder: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if len(server.posts) == 2 and "done" in [entry.state for entry in WanStore(folder).history()]:
            time.sleep(0.3)  # the checkpointer writes down the finished call
            return
        time.sleep(0.05)
    pytest.fail("the agent did not get that far")
