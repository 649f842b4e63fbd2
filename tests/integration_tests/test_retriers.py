"""Whatever repeats a call that may have been paid: one request is sent, until a person asks again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy as GraphRetryPolicy

from langchain_wan import WanImageGenerator, WanImageTool, WanStore, errors
from tests.support.fault_server import KEY, FaultServer, silence
from tests.support.scripted_model import ScriptedChatModel, calls


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
