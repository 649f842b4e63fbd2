"""The ways in which a call of the tool comes about: an agent, a node, a loop, a chain; each blocking and async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import StructuredTool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from langchain_wan import WanImageTool
from tests.support.scripted_model import ScriptedChatModel, calls

Enter = Callable[..., ToolMessage]


def to_call(arguments: dict[str, Any], tool_call_id: str = "call_0") -> dict[str, Any]:
    return {"name": "wan_image", "args": arguments, "id": tool_call_id, "type": "tool_call"}


def to_config(thread_id: str, **more: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, **more}}


def build_graph(node: Any, **compiled: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph.compile(**compiled)


def run(runnable: Any, value: Any, config: RunnableConfig | None, *, asynchronous: bool) -> Any:
    return asyncio.run(runnable.ainvoke(value, config)) if asynchronous else runnable.invoke(value, config)


def build_node(*steps: Any, asynchronous: bool, with_config: bool = True) -> Any:
    """A node that invokes Runnables one after the other, each with its input, and keeps the messages they return."""

    def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        configs = (config,) if with_config else ()
        return {"messages": [runnable.invoke(value, *configs) for runnable, value in steps]}

    async def anode(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        configs = (config,) if with_config else ()
        return {"messages": [await runnable.ainvoke(value, *configs) for runnable, value in steps]}

    return anode if asynchronous else node


def _answer(done: dict[str, Any]) -> ToolMessage:
    return next(message for message in reversed(done["messages"]) if isinstance(message, ToolMessage))


def by_agent(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    agent = create_agent(ScriptedChatModel(script=[calls(arguments), AIMessage("Done.")]), tools=[tool])
    return _answer(run(agent, {"messages": list(said)}, config, asynchronous=asynchronous))


def by_tool_node(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    graph = build_graph(ToolNode([tool]))
    return _answer(run(graph, {"messages": [*said, calls(arguments)]}, config, asynchronous=asynchronous))


def by_node(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    node = build_node((tool, to_call(arguments)), asynchronous=asynchronous)
    return _answer(run(build_graph(node), {"messages": list(said)}, config, asynchronous=asynchronous))


def by_node_without_config(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    node = build_node((tool, to_call(arguments)), asynchronous=asynchronous, with_config=False)
    return _answer(run(build_graph(node), {"messages": list(said)}, config, asynchronous=asynchronous))


def by_chain_in_node(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    chain = RunnableLambda(to_call) | tool
    node = build_node((chain, arguments), asynchronous=asynchronous)
    return _answer(run(build_graph(node), {"messages": list(said)}, config, asynchronous=asynchronous))


def by_send(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    graph = StateGraph(MessagesState)
    graph.add_node("painter", build_node((tool, to_call(arguments)), asynchronous=asynchronous))
    graph.add_conditional_edges(START, lambda state: [Send("painter", state)])
    return _answer(run(graph.compile(), {"messages": list(said)}, config, asynchronous=asynchronous))


def by_loop(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    message = run(tool, to_call(arguments), config, asynchronous=asynchronous)
    assert isinstance(message, ToolMessage)
    return message


def by_chain(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    message = run(RunnableLambda(to_call) | tool, arguments, config, asynchronous=asynchronous)
    assert isinstance(message, ToolMessage)
    return message


def by_sub_agent(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    """An agent that is a node of a larger graph, and sees its messages."""
    agent = create_agent(ScriptedChatModel(script=[calls(arguments), AIMessage("Done.")]), tools=[tool])
    return _answer(run(build_graph(agent), {"messages": list(said)}, config, asynchronous=asynchronous))


def by_supervisor(
    tool: WanImageTool, arguments: Any, config: RunnableConfig, said: Sequence[Any], *, asynchronous: bool
) -> ToolMessage:
    """An agent whose tool asks another agent, which sees only the task that it is given."""
    painter = create_agent(ScriptedChatModel(script=[calls(arguments), AIMessage("Done.")]), tools=[tool])

    def paint(task: str) -> tuple[str, ToolMessage]:
        return "Done.", _answer(painter.invoke({"messages": [HumanMessage(task)]}))

    async def apaint(task: str) -> tuple[str, ToolMessage]:
        return "Done.", _answer(await painter.ainvoke({"messages": [HumanMessage(task)]}))

    ask = StructuredTool.from_function(
        paint, coroutine=apaint, name="paint", description="Make an image.", response_format="content_and_artifact"
    )
    script = [calls({"task": "Paint."}, name="paint"), AIMessage("Done.")]
    supervisor = create_agent(ScriptedChatModel(script=script), tools=[ask])
    painted: ToolMessage = _answer(
        run(supervisor, {"messages": list(said)}, config, asynchronous=asynchronous)
    ).artifact
    return painted


# Those in which a call does not see the messages of the conversation.
WITHOUT_MESSAGES: dict[str, Enter] = {
    "node": by_node,
    "node without config": by_node_without_config,
    "chain in a node": by_chain_in_node,
    "Send": by_send,
    "loop": by_loop,
    "chain": by_chain,
    "supervisor": by_supervisor,
}
ENTRANCES: dict[str, Enter] = {
    "agent": by_agent,
    "ToolNode": by_tool_node,
    "sub-agent": by_sub_agent,
    **WITHOUT_MESSAGES,
}
GO = (HumanMessage("Go."),)
