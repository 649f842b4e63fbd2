"""The chat model without a key: each line of its script is answered at once and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from pydantic import BaseModel

from langchain_wan.sandbox import ScriptedChatModel, call_tool


def invoke(model: ScriptedChatModel, text: str = "Hello.") -> AIMessage:
    return model.invoke(text)


def ainvoke(model: ScriptedChatModel, text: str = "Hello.") -> AIMessage:
    return asyncio.run(model.ainvoke(text))


def stream(model: ScriptedChatModel, text: str = "Hello.") -> AIMessage:
    return reduce(add, chunks_of(model, text))


def astream(model: ScriptedChatModel, text: str = "Hello.") -> AIMessage:
    async def collect() -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream(text) if isinstance(chunk, AIMessageChunk)]

    return reduce(add, asyncio.run(collect()))


def chunks_of(model: ScriptedChatModel, text: str = "Hello.") -> list[AIMessageChunk]:
    chunks = [*model.stream(text)]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    return chunks


WAYS = [invoke, ainvoke, stream, astream]
FOX = call_tool("wan_image", prompt="a fox", n=2)
WOLF = call_tool("wan_image", prompt="a wolf", images=["upload_1"])
USAGE: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
BLOCKS: Any = [{"type": "text", "text": "two "}, {"type": "text", "text": "blocks"}]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize(
    ("line", "text", "calls"),
    [
        ("Here are  two\nfoxes. ", "Here are  two\nfoxes. ", []),
        ("", "", []),
        (FOX, "", [FOX]),
        ([FOX, WOLF], "", [FOX, WOLF]),
        (AIMessage("I draw it.", tool_calls=[FOX]), "I draw it.", [FOX]),
        (AIMessage(BLOCKS), "two blocks", []),
        (lambda messages: f"You said {messages[-1].text}", "You said Hello.", []),
        (lambda _: [FOX, WOLF], "", [FOX, WOLF]),
    ],
    ids=["text", "nothing", "call", "parallel calls", "message", "blocks", "function", "function that calls"],
)
def test_each_kind_of_line_is_answered(ask: Callable[..., AIMessage], line: Any, text: str, calls: list[Any]) -> None:
    model = ScriptedChatModel(script=[line])
    answer = ask(model)
    assert answer.text == text
    assert answer.tool_calls == calls
    assert answer.id
    assert model.script == []
    assert [message.text for message in model.received[0]] == ["Hello."]


@pytest.mark.parametrize("ask", WAYS)
def test_facts_of_a_message_arrive(ask: Callable[..., AIMessage]) -> None:
    line = AIMessage(
        "Hi.",
        id="m-1",
        usage_metadata=USAGE,
        response_metadata={"model_name": "fake"},
        additional_kwargs={"reasoning": "none"},
        invalid_tool_calls=[
            {"type": "invalid_tool_call", "name": "x", "args": "not JSON", "id": "call_1", "error": None}
        ],
    )
    answer = ask(ScriptedChatModel(script=[line]))
    assert answer.id == "m-1"
    assert answer.usage_metadata == USAGE
    assert answer.response_metadata["model_name"] == "fake"
    assert answer.additional_kwargs == {"reasoning": "none"}
    assert [(call["name"], call["args"], call["id"]) for call in answer.invalid_tool_calls] == [
        ("x", "not JSON", "call_1")
    ]


def test_a_stream_comes_in_words_and_the_arguments_of_a_call_in_pieces() -> None:
    assert [chunk.text for chunk in chunks_of(ScriptedChatModel(script=["a red fox"]))] == ["a ", "red ", "fox", ""]
    pieces = [chunk.tool_call_chunks[0]["args"] for chunk in chunks_of(ScriptedChatModel(script=[FOX]))[:2]]
    assert "".join(map(str, pieces)) == '{"prompt": "a fox", "n": 2}'
    assert all(pieces)


def test_a_line_that_stands_twice_makes_two_messages() -> None:
    line = AIMessage("Hi.")
    model = ScriptedChatModel(script=[line, line])
    assert invoke(model).id != invoke(model).id


def test_each_call_has_an_id_of_its_own() -> None:
    assert call_tool("wan_image")["id"] != call_tool("wan_image")["id"]


def test_lines_can_be_added_and_a_script_that_has_ended_is_an_error() -> None:
    model = ScriptedChatModel(script=["one"])
    model.script.append("two")
    assert [invoke(model).text, invoke(model).text] == ["one", "two"]
    for ask in WAYS:
        with pytest.raises(ValueError, match="no line for call"):
            ask(model)


def test_bound_tools_are_in_the_trace_and_change_no_answer() -> None:
    tools = [{"name": "wan_image", "description": "Make images.", "parameters": {"type": "object"}}]
    bound: Any = ScriptedChatModel(script=[FOX]).bind_tools(tools, tool_choice="any", parallel_tool_calls=False)
    assert bound.kwargs["tools"][0]["function"]["name"] == "wan_image"
    assert bound.invoke("Hello.").tool_calls == [FOX]


def test_structured_output_is_a_scripted_call_of_the_schema() -> None:
    class Critique(BaseModel):
        """Say what is wrong."""

        score: int

    model = ScriptedChatModel(script=[call_tool("Critique", score=3)] * 2)
    assert model.with_structured_output(Critique).invoke("Look.") == Critique(score=3)
    whole: Any = model.with_structured_output(Critique, include_raw=True).invoke("Look.")
    assert whole["parsed"] == Critique(score=3)


def test_a_conversation_with_roles_is_received_as_it_was_sent() -> None:
    model = ScriptedChatModel(script=["Hi."])
    sent: list[BaseMessage] = [HumanMessage("Hello."), AIMessage("Yes?"), HumanMessage("Draw.")]
    model.invoke(sent)
    assert model.received == [sent]
