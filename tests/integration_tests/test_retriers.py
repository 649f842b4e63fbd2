"""Whatever repeats a call that may have been paid: one request is sent, until a person asks again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy as GraphRetryPolicy

from langchain_wan import ImageRequest, WanImageGenerator, WanImageTool, WanStore, errors
from tests.support.entrances import build_graph
from tests.support.fault_server import KEY, FaultServer, answer, drop, reply, silence
from tests.support.images import data_uri, png
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import build_client

GOOD = reply(200, answer(data_uri()))


def invoked(runnable: Any, value: Any, asynchronous: bool, config: Any = None) -> Any:
    return asyncio.run(runnable.ainvoke(value, config)) if asynchronous else runnable.invoke(value, config)


def settings(server: FaultServer, **more: Any) -> dict[str, Any]:
    return {"base_url": server.url, "api_key": KEY, "timeout": 0.3, "store": WanStore(), **more}


def test_with_retry_sends_once(asynchronous: bool) -> None:
    with FaultServer(silence()) as server:
        chain = WanImageGenerator(**settings(server)).with_retry(wait_exponential_jitter=False)
        with pytest.raises(errors.PaymentUncertainError):
            invoked(chain, "a fox", asynchronous)
        assert len(server.posts) == 1


def test_with_fallbacks_sends_once(asynchronous: bool) -> None:
    with FaultServer(silence()) as server:
        pro = WanImageGenerator(model="wan2.7-image-pro", **settings(server))
        with pytest.raises(errors.PaymentUncertainError):
            invoked(pro.with_fallbacks([WanImageGenerator(**settings(server))]), "a fox", asynchronous)
        assert len(server.posts) == 1


@pytest.mark.parametrize("handled", [True, False])
def test_a_graphs_retry_policy_sends_once(handled: bool, asynchronous: bool) -> None:
    with FaultServer(silence()) as server:
        tool = WanImageTool(**settings(server, **({} if handled else {"handle_tool_error": False})))
        graph = StateGraph(MessagesState)
        node = ToolNode([tool], handle_tool_errors=False)
        graph.add_node("tools", node, retry_policy=GraphRetryPolicy(initial_interval=0.01))
        graph.add_edge(START, "tools")
        graph.add_edge("tools", END)
        state = {"messages": [HumanMessage("x"), calls({"prompt": "a fox"})]}
        if handled:
            assert invoked(graph.compile(), state, asynchronous)["messages"][-1].status == "error"
        else:
            with pytest.raises(errors.PaymentUncertainError):
                invoked(graph.compile(), state, asynchronous)
        assert len(server.posts) == 1


@pytest.mark.parametrize("handled", [True, False])
def test_tool_retry_middleware_sends_once(handled: bool, asynchronous: bool) -> None:
    with FaultServer(silence()) as server:
        tool = WanImageTool(**settings(server, **({} if handled else {"handle_tool_error": False})))
        model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Sorry.")])
        agent = create_agent(model, tools=[tool], middleware=[ToolRetryMiddleware(initial_delay=0.01)])
        state: Any = {"messages": [HumanMessage("a fox")]}
        if handled:
            invoked(agent, state, asynchronous)
        else:
            with pytest.raises(errors.PaymentUncertainError):
                invoked(agent, state, asynchronous)
        assert len(server.posts) == 1


def test_a_model_that_calls_again_sends_nothing_until_the_person_asks_again(asynchronous: bool) -> None:
    with FaultServer(silence()) as server:
        tool = WanImageTool(**settings(server))
        again = [calls({"prompt": "a fox"}, start=number) for number in range(3)]
        model = ScriptedChatModel(
            script=[*again, AIMessage("It failed."), calls({"prompt": "a fox"}), AIMessage("No.")]
        )
        agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "1"}}
        done = invoked(agent, {"messages": [HumanMessage("a fox")]}, asynchronous, config)
        answers = [message for message in done["messages"] if isinstance(message, ToolMessage)]
        assert [message.artifact["error"]["charged"] for message in answers] == ["maybe"] * 3
        assert len({message.artifact["error"]["operation_id"] for message in answers}) == 1
        assert len(server.posts) == 1
        invoked(agent, {"messages": [HumanMessage("try again, please")]}, asynchronous, config)
        assert len(server.posts) == 2


def test_one_users_uncertain_call_does_not_stop_another_user(asynchronous: bool) -> None:
    with FaultServer(silence()) as server:
        tool = WanImageTool(**settings(server))
        for thread in ("anna", "ben"):
            model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("It failed.")])
            agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
            invoked(agent, {"messages": [HumanMessage("a fox")]}, asynchronous, {"configurable": {"thread_id": thread}})
        assert len(server.posts) == 2


def test_a_call_that_was_settled_as_charged_says_so_and_what_to_do(generate: Any, store: WanStore) -> None:
    request = ImageRequest(prompt="a fox", operation_id="mine")
    with FaultServer(drop, GOOD) as server:
        client = build_client(server, store=store)
        with pytest.raises(errors.PaymentUncertainError):
            generate(client, request)
        store.resolve("mine", "charged")
        for _ in range(2):
            with pytest.raises(errors.PaidButNotRetrievedError) as caught:
                generate(client, request)
            assert str(caught.value) == (
                "This operation was settled as charged, and it has no image. It was charged ($0.03). To pay for "
                "another try, use a new operation_id. Operation: mine."
            )
        assert len(server.posts) == 1
        assert generate(client, request.model_copy(update={"operation_id": "again"})).images
        assert generate(client, "a fox").images
        assert len(server.posts) == 3


def test_a_graph_that_goes_on_after_its_call_was_settled_as_charged_tells_the_user(asynchronous: bool) -> None:
    thread: Any = {"configurable": {"thread_id": "1"}}
    failures = [ConnectionError("the database is away")]
    with FaultServer(drop, GOOD) as server:
        store = WanStore()
        node = ToolNode([WanImageTool(**settings(server, store=store))])

        async def tools(state: Any, config: RunnableConfig) -> Any:
            done = await node.ainvoke(state, config)
            if failures:
                raise failures.pop()
            return done

        def blocking_tools(state: Any, config: RunnableConfig) -> Any:
            done = node.invoke(state, config)
            if failures:
                raise failures.pop()
            return done

        graph = build_graph(tools if asynchronous else blocking_tools, checkpointer=InMemorySaver())
        state = {"messages": [HumanMessage("x"), calls({"prompt": "a fox"})]}
        with pytest.raises(ConnectionError):
            invoked(graph, state, asynchronous, thread)
        (lost,) = store.unfinished()
        store.resolve(lost.operation_id, "charged")
        again = invoked(graph, None, asynchronous, thread)["messages"][-1]
        assert again.artifact["error"]["charged"] == "yes"
        assert again.content == (
            "This call was charged, and its image is lost. Tell the user, and ask before making it again."
        )
        assert len(server.posts) == 1


def test_images_that_came_before_a_call_was_settled_are_returned_again(generate: Any, tmp_path: Path) -> None:
    request = ImageRequest(prompt="a fox", n=2, operation_id="mine")
    with FaultServer(files={"/a.png": reply(200, png()), "/b.png": reply(503)}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png", f"{server.origin}/b.png"))]
        client = build_client(server, store=WanStore(tmp_path))
        first = generate(client, request)
        client.store.resolve("mine", "charged")
        again = generate(client, request)
        assert again.replayed
        assert [image.id for image in again.images] == [image.id for image in first.images]
        assert len(server.posts) == 1
