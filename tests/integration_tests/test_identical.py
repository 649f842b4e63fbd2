"""Identical requests that are asked for at once are as many images; a repeat of an uncertain one is still not sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState

from langchain_wan import Budget, ImageResult, WanImageGenerator, WanImageTool, WanStore
from langchain_wan.errors import PaymentUncertainError
from tests.support.conversations import THREAD, Talk, answers
from tests.support.entrances import build_graph, run, to_call
from tests.support.fault_server import FaultServer, answer, drop, reply
from tests.support.images import data_uri
from tests.support.scripted_model import ScriptedChatModel
from tests.support.services import access

GOOD = reply(200, answer(data_uri()))
FOXES = ["a fox"] * 10


def by_batch(images: Any, inputs: Any) -> list[Any]:
    return list(images.batch(inputs, return_exceptions=True))


def by_abatch(images: Any, inputs: Any) -> list[Any]:
    return asyncio.run(images.abatch(inputs, return_exceptions=True))


def by_batch_as_completed(images: Any, inputs: Any) -> list[Any]:
    return [result for _, result in images.batch_as_completed(inputs, return_exceptions=True)]


def by_abatch_as_completed(images: Any, inputs: Any) -> list[Any]:
    async def collect() -> list[Any]:
        return [result async for _, result in images.abatch_as_completed(inputs, return_exceptions=True)]

    return asyncio.run(collect())


def by_chain(images: Any, inputs: Any) -> list[Any]:
    return list((RunnableLambda(str.strip) | images).batch(inputs, return_exceptions=True))


WAYS = pytest.mark.parametrize(
    "batch",
    [by_batch, by_abatch, by_batch_as_completed, by_abatch_as_completed, by_chain],
    ids=lambda way: way.__name__,
)
Batch = Callable[[Any, Any], list[Any]]


def kinds(results: list[Any]) -> dict[str, int]:
    return dict(Counter(type(result).__name__ for result in results))


@WAYS
@pytest.mark.parametrize("in_flight", [1, 5])
def test_an_uncertain_one_of_a_batch_does_not_stop_its_siblings(batch: Batch, in_flight: int, store: WanStore) -> None:
    with FaultServer(drop, GOOD) as server:
        images = WanImageGenerator(**access(server, store=store, max_concurrency=in_flight))
        assert kinds(batch(images, FOXES)) == {"ImageResult": 9, "PaymentUncertainError": 1}
        assert len(server.posts) == 10
        # One of the next ten may be the repeat of it; the others are ten minus one more images.
        again = batch(images, FOXES)
        assert kinds(again) == {"ImageResult": 9, "PaymentUncertainError": 1}
        assert len(server.posts) == 19
        (lost,) = store.unfinished()
        assert [error.operation_id for error in again if not isinstance(error, ImageResult)] == [lost.operation_id]
        for _ in range(2):
            with pytest.raises(PaymentUncertainError):
                images.invoke("a fox")
        assert len(server.posts) == 19


@pytest.mark.parametrize("batch", [by_batch, by_abatch, by_batch_as_completed, by_abatch_as_completed])
def test_a_batch_of_a_tool_has_siblings_too(batch: Batch, store: WanStore) -> None:
    with FaultServer(drop, GOOD) as server:
        tool = WanImageTool(**access(server, store=store, handle_tool_error=False))
        inputs = [{"prompt": "a fox"}] * 5 + [to_call({"prompt": "a fox"}, f"call_{name}") for name in range(5)]
        results = batch(tool, inputs)
        assert kinds(results) == {"str": 5, "ToolMessage": 4, "PaymentUncertainError": 1} or kinds(results) == {
            "str": 4,
            "ToolMessage": 5,
            "PaymentUncertainError": 1,
        }
        assert len(server.posts) == 10
        with pytest.raises(PaymentUncertainError):
            tool.invoke({"prompt": "a fox"})
        assert len(server.posts) == 10


@WAYS
def test_as_many_are_held_back_as_are_uncertain_from_before(batch: Batch, store: WanStore) -> None:
    with FaultServer(drop, drop, GOOD) as server:
        images = WanImageGenerator(**access(server, store=store))
        assert kinds(batch(images, ["a fox", "a fox", "a hare"])) == {"PaymentUncertainError": 2, "ImageResult": 1}
        assert kinds(batch(images, ["a fox", "a hare", "a fox", "a fox"])) == {
            "PaymentUncertainError": 2,
            "ImageResult": 2,
        }
        assert len(server.posts) == 5


def test_a_batch_that_is_retried_sends_no_uncertain_one_again(asynchronous: bool) -> None:
    with FaultServer(drop, GOOD) as server:
        images = WanImageGenerator(**access(server)).with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
        results: list[Any] = (by_abatch if asynchronous else by_batch)(images, FOXES)
        assert kinds(results) == {"ImageResult": 9, "PaymentUncertainError": 1}
        assert len(server.posts) == 10


@pytest.mark.parametrize("retried", [False, True])
def test_a_node_that_runs_again_makes_only_what_was_not_begun(
    retried: bool, asynchronous: bool, tmp_path: Path
) -> None:
    with FaultServer(GOOD, drop, drop, GOOD) as server:
        budgets: list[Any] = [4, None]  # the process that ran first came as far as the fourth
        outcomes: list[dict[str, int]] = []

        def build() -> Any:
            limit = budgets.pop(0)
            budget = None if limit is None else Budget(max_images=limit)
            images: Any = WanImageGenerator(**access(server, store=tmp_path, max_concurrency=1, budget=budget))
            return images.with_retry(stop_after_attempt=2, wait_exponential_jitter=False) if retried else images

        def node(state: MessagesState) -> Any:
            outcomes.append(kinds(by_batch(build(), FOXES)))
            if len(outcomes) == 1:
                raise ConnectionError("the database is away")
            return {"messages": []}

        async def anode(state: MessagesState) -> Any:
            outcomes.append(kinds(await build().abatch(FOXES, return_exceptions=True)))
            if len(outcomes) == 1:
                raise ConnectionError("the database is away")
            return {"messages": []}

        graph = build_graph(anode if asynchronous else node, checkpointer=InMemorySaver())
        with pytest.raises(ConnectionError):
            run(graph, {"messages": [HumanMessage("Ten.")]}, THREAD, asynchronous=asynchronous)
        run(graph, None, THREAD, asynchronous=asynchronous)
        assert len(server.posts) == 10
        assert outcomes[0] == {"ImageResult": 2, "PaymentUncertainError": 2, "BudgetExceededError": 6}
        assert outcomes[1] == {"ImageResult": 8, "PaymentUncertainError": 2}


def test_ten_calls_of_one_message_are_ten_images(talk: Talk) -> None:
    with FaultServer(drop, GOOD) as server:
        tool = WanImageTool(**access(server, max_concurrency=1))
        message = AIMessage("", tool_calls=[to_call({"prompt": "a fox"}, f"call_{name}") for name in range(10)])
        model = ScriptedChatModel(script=[message, AIMessage("Done.")])
        agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
        done = talk(agent, "Ten.", THREAD)
        assert Counter(answer.status for answer in answers(done)) == {"success": 9, "error": 1}
        assert len(server.posts) == 10


@pytest.mark.parametrize("ids", ["01", "00"], ids=["own ids", "one id"])
def test_a_call_that_middleware_repeats_is_not_a_sibling(ids: str, talk: Talk) -> None:
    with FaultServer(drop, GOOD) as server:
        tool = WanImageTool(**access(server, max_concurrency=1, handle_tool_error=False))
        message = AIMessage("", tool_calls=[to_call({"prompt": "a fox"}, f"call_{name}") for name in ids])
        model = ScriptedChatModel(script=[message, AIMessage("Done.")])
        retry = ToolRetryMiddleware(max_retries=2, initial_delay=0.0, retry_on=(PaymentUncertainError,))
        agent = create_agent(model, tools=[tool], middleware=[retry], checkpointer=InMemorySaver())
        talk(agent, "Two.", THREAD)
        assert len(server.posts) == 2


def test_a_model_that_calls_again_after_an_uncertain_call_sends_nothing(talk: Talk) -> None:
    with FaultServer(drop, GOOD) as server:
        tool = WanImageTool(**access(server))
        first, second = (
            AIMessage("", tool_calls=[to_call({"prompt": "a fox"}, name)]) for name in ("call_0", "call_1")
        )
        model = ScriptedChatModel(script=[first, second, AIMessage("Done.")])
        talk(create_agent(model, tools=[tool], checkpointer=InMemorySaver()), "One.", THREAD)
        assert len(server.posts) == 1
