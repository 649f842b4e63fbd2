"""Tool calls that share an id, and middleware that calls a tool again."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import ToolNode

from langchain_wan import ImageResult, WanImageTool
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import THREAD, Talk, answers, ids_in
from tests.support.entrances import build_graph, run, to_call
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, posts


def prompts(service: Sandbox) -> list[str]:
    return sorted(post.json["messages"][0]["content"][-1]["text"] for post in posts(service))


PROMPTS = pytest.mark.parametrize(
    "prompts_of_calls", [("a fox", "a hare"), ("a fox", "a fox")], ids=["two prompts", "one prompt"]
)


@PROMPTS
def test_two_calls_of_one_message_under_one_id_are_two_images(
    prompts_of_calls: tuple[str, str], talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    message = AIMessage("", tool_calls=[to_call({"prompt": prompt}) for prompt in prompts_of_calls])
    model = ScriptedChatModel(script=[message, AIMessage("Done.")])
    done = talk(create_agent(model, tools=[tool], checkpointer=InMemorySaver()), "Two.", THREAD)
    assert [answer.status for answer in answers(done)] == ["success", "success"]
    assert prompts(sandbox) == sorted(prompts_of_calls)
    assert len(set(ids_in(done["messages"]))) == 2


@PROMPTS
def test_a_tool_node_makes_both_and_pays_nothing_when_it_runs_again(
    prompts_of_calls: tuple[str, str], asynchronous: bool, tool: WanImageTool, sandbox: Sandbox
) -> None:
    message = AIMessage("", id="ai-1", tool_calls=[to_call({"prompt": prompt}) for prompt in prompts_of_calls])
    node = ToolNode([tool])
    failures = [ConnectionError("the database is away")]

    def run_tools(state: Any, config: RunnableConfig) -> Any:
        done = node.invoke(state, config)
        if failures:
            raise failures.pop()
        return done

    async def arun_tools(state: Any, config: RunnableConfig) -> Any:
        done = await node.ainvoke(state, config)
        if failures:
            raise failures.pop()
        return done

    graph = build_graph(arun_tools if asynchronous else run_tools, checkpointer=InMemorySaver())
    with pytest.raises(ConnectionError):
        run(graph, {"messages": [HumanMessage("Two."), message]}, THREAD, asynchronous=asynchronous)
    done = run(graph, None, THREAD, asynchronous=asynchronous)
    assert [answer.status for answer in answers(done)] == ["success", "success"]
    assert len(set(ids_in(done["messages"]))) == 2
    assert prompts(sandbox) == sorted(prompts_of_calls)


class BetterPrompt(AgentMiddleware[Any, Any, Any]):
    """Calls the tool again with a better prompt, under the same id."""

    def __init__(self) -> None:
        super().__init__()
        self.first: list[ToolMessage] = []

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.first.append(handler(request))
        return handler(request.override(tool_call=to_call({"prompt": "a better fox"}, request.tool_call["id"])))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.first.append(await handler(request))
        return await handler(request.override(tool_call=to_call({"prompt": "a better fox"}, request.tool_call["id"])))


def test_a_better_prompt_under_the_same_id_is_another_image_and_the_first_is_not_lost(
    talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    middleware = BetterPrompt()
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Done.")])
    agent = create_agent(model, tools=[tool], middleware=[middleware], checkpointer=InMemorySaver())
    (answer,) = answers(talk(agent, "A fox.", THREAD))
    assert answer.status == "success"
    assert prompts(sandbox) == ["a better fox", "a fox"]
    first = ImageResult.from_message(middleware.first[0]).images[0]
    assert first.id not in str(answer.content)
    assert tool.store.scoped("1").get(first.id) is not None


class Twice(AgentMiddleware[Any, Any, Any]):
    """Calls the tool twice with the same arguments."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        handler(request)
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        await handler(request)
        return await handler(request)


def test_the_same_call_again_is_paid_once(talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Done.")])
    agent = create_agent(model, tools=[tool], middleware=[Twice()], checkpointer=InMemorySaver())
    (answer,) = answers(talk(agent, "A fox.", THREAD))
    assert ImageResult.from_message(answer).replayed
    assert len(posts(sandbox)) == 1


def test_a_call_with_a_better_prompt_after_an_uncertain_one_is_made(talk: Talk) -> None:
    with Sandbox(faults=["disconnect"]) as service:
        tool = WanImageTool(**access(service))
        model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Done.")])
        agent = create_agent(model, tools=[tool], middleware=[BetterPrompt()], checkpointer=InMemorySaver())
        (answer,) = answers(talk(agent, "A fox.", THREAD))
        assert answer.status == "success"
        assert len(posts(service)) == 2
