"""Heartbeats: while a call waits for its answer, whoever watches it is told so again and again.

The server answers once the test has seen two of them, so that no test measures a time.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import RunnableConfig

from langchain_wan import ImageResult, WanEvent, WanImageGenerator, WanImageTool, errors
from langchain_wan._call import reports
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import data_uri
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import Generate, access, build_client

STAGES = ["queued", "submitted", "answered", "stored", "done"]
A_FOX = calls({"prompt": "a fox"})


@pytest.fixture(autouse=True)
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "INTERVAL", 0.02)


class PatientServer(FaultServer):
    """A server that answers when it was watched for two heartbeats."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.may_answer = threading.Event()
        super().__init__(reply(200, answer(data_uri()), when=self.may_answer))

    def watch(self, event: Any) -> None:
        self.events.append(event)
        if self.stages.count("waiting") == 2:
            self.may_answer.set()

    @property
    def stages(self) -> list[str]:
        return [event["stage"] for event in self.events]

    def check(self) -> None:
        """Check that there were heartbeats while the request was out, and every stage in its order."""
        assert [stage for stage in self.stages if stage != "waiting"] == STAGES
        assert self.stages[-1] == "done"
        assert self.stages.count("waiting") >= 2
        beat = next(event for event in self.events if event["stage"] == "waiting")
        assert beat.keys() == {"type", "stage", "operation_id", "tool_call_id", "elapsed_s"}
        assert {event["operation_id"] for event in self.events} == {beat["operation_id"]}
        elapsed = [event["elapsed_s"] for event in self.events]
        assert elapsed == sorted(elapsed)
        assert len(self.posts) == 1


@pytest.fixture
def server() -> Iterator[PatientServer]:
    with PatientServer() as started:
        yield started


def test_a_client_is_told_that_its_call_waits(server: PatientServer, generate: Generate) -> None:
    assert len(generate(build_client(server), "a fox", on_event=server.watch).images) == 1
    server.check()


def test_an_async_watcher_is_told_too(server: PatientServer) -> None:
    async def watch(event: WanEvent) -> None:
        await asyncio.sleep(0)
        server.watch(event)

    asyncio.run(build_client(server).agenerate("a fox", on_event=watch))
    server.check()


@pytest.mark.parametrize("mode", ["custom", "tools"])
def test_an_agents_streams_have_them(mode: str, server: PatientServer, asynchronous: bool) -> None:
    agent: Any = create_agent(
        ScriptedChatModel(script=[A_FOX, AIMessage("Done.")]), tools=[WanImageTool(**access(server))]
    )
    state = {"messages": [HumanMessage("A fox.")]}

    modes = ["custom", "tools"]  # with "tools" alone, LangGraph gives everything at the end of the step

    def watch(of: str, event: Any) -> None:
        if of == mode == "custom":
            server.watch(event)
        elif of == mode and event["event"] == "tool-output-delta":
            server.watch(event["delta"])

    async def stream() -> None:
        async for of, event in agent.astream(state, stream_mode=modes):
            watch(of, event)

    if asynchronous:
        asyncio.run(stream())
    else:
        for of, event in agent.stream(state, stream_mode=modes):
            watch(of, event)
    server.check()
    assert {event["tool_call_id"] for event in server.events} == {"call_0"}


@pytest.mark.parametrize("kind", ["agent", "generator"])
async def test_whoever_streams_events_has_them(kind: str, server: PatientServer) -> None:
    runnable: Any = WanImageGenerator(**access(server))
    value: Any = "a fox"
    if kind == "agent":
        model = ScriptedChatModel(script=[A_FOX, AIMessage("Done.")])
        runnable = create_agent(model, tools=[WanImageTool(**access(server))])
        value = {"messages": [HumanMessage("a fox")]}
    async for event in runnable.astream_events(value, version="v2"):
        if event["event"] == "on_custom_event":
            server.watch(event["data"])
    server.check()


@pytest.mark.parametrize("kind", ["tool", "generator"])
def test_a_callback_has_them(kind: str, server: PatientServer, asynchronous: bool) -> None:
    class Handler(BaseCallbackHandler):
        def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
            server.watch(data)

    class AsyncHandler(AsyncCallbackHandler):
        async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
            server.watch(data)

    tool = WanImageTool(**access(server))
    runnable: Any = tool.generator if kind == "generator" else tool
    value: Any = "a fox" if kind == "generator" else {"prompt": "a fox"}
    config: RunnableConfig = {"callbacks": [AsyncHandler() if asynchronous else Handler()]}
    if asynchronous:
        asyncio.run(runnable.ainvoke(value, config))
    else:
        runnable.invoke(value, config)
    server.check()


def test_they_come_in_the_context_of_the_caller(server: PatientServer, generate: Generate) -> None:
    user = contextvars.ContextVar("user", default="nobody")
    users = set()

    def watch(event: WanEvent) -> None:
        users.add(user.get())
        server.watch(event)

    def call() -> ImageResult:
        user.set("anna")
        return generate(build_client(server), "a fox", on_event=watch)

    contextvars.copy_context().run(call)
    server.check()
    assert users == {"anna"}


def test_a_watcher_that_fails_is_told_no_more_of_them_and_loses_nothing(
    server: PatientServer, generate: Generate, caplog: pytest.LogCaptureFixture
) -> None:

    def watch(event: WanEvent) -> None:
        if event["stage"] == "waiting":
            server.may_answer.set()
            raise OSError("no progress bar")
        server.watch(event)

    with caplog.at_level(logging.WARNING, logger="langchain_wan"):
        assert len(generate(build_client(server), "a fox", on_event=watch).images) == 1
    assert server.stages == STAGES
    assert [record.getMessage() for record in caplog.records] == ["on_event failed at stage waiting"]


def test_a_watcher_that_hangs_does_not_keep_the_answer_from_being_stored(server: PatientServer) -> None:
    client = build_client(server)
    states: list[str] = []

    def watch(event: WanEvent) -> None:
        if event["stage"] == "waiting" and not states:
            server.may_answer.set()
            while client.store.history()[0].state == "sending":  # ends only if the call goes on meanwhile
                threading.Event().wait(0.01)
            states.append(client.store.history()[0].state)
        server.watch(event)

    assert len(client.generate("a fox", on_event=watch).images) == 1
    assert states == ["paid"]
    assert server.stages[-1] == "done"


def test_a_call_that_ended_has_no_heart(server: PatientServer, generate: Generate) -> None:
    generate(build_client(server), "a fox", on_event=server.watch)
    assert find_hearts() == []


def test_a_call_that_failed_has_no_heart(generate: Generate) -> None:
    def drop_when_watched(event: Any) -> None:
        if event["stage"] == "waiting":
            dropped.set()

    dropped = threading.Event()
    with FaultServer(reply(500, when=dropped)) as server, pytest.raises(errors.PaymentUncertainError):
        generate(build_client(server), "a fox", on_event=drop_when_watched)
    assert find_hearts() == []


class ClosedGate(BaseRateLimiter):
    """A rate limiter that lets nothing pass."""

    def acquire(self, *, blocking: bool = True) -> bool:
        raise NotImplementedError

    async def aacquire(self, *, blocking: bool = True) -> bool:
        await asyncio.Event().wait()
        return True


async def test_a_call_that_waits_in_a_queue_has_a_heart_until_it_is_cancelled() -> None:
    waits = asyncio.Event()

    def watch(event: WanEvent) -> None:
        if event["stage"] == "waiting":
            waits.set()

    with FaultServer() as server:
        client = build_client(server, rate_limiter=ClosedGate())
        task = asyncio.create_task(client.agenerate("a fox", on_event=watch))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hearts = [each for each in asyncio.all_tasks() if each.get_name() == "langchain-wan-heartbeat"]
        await asyncio.wait([*hearts, asyncio.ensure_future(asyncio.sleep(0))])
        assert server.posts == []


def test_nobody_who_watches_means_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    with FaultServer() as server:
        build_client(server).generate("a fox")
    assert "langchain-wan-heartbeat" not in started


def find_hearts() -> list[threading.Thread]:
    """Return the threads that still have heartbeats; one that was just told to end may take a moment."""
    hearts = [thread for thread in threading.enumerate() if thread.name == "langchain-wan-heartbeat"]
    for thread in hearts:
        thread.join(30)
    return [thread for thread in hearts if thread.is_alive()]
