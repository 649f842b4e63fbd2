"""A vision model sees the images of its conversation; the state keeps names only."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import tool as as_tool
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from langchain_wan import WanImageTool, WanStore, errors
from langchain_wan.middleware import WanImageMiddleware
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import IMAGE_ID, THREAD, attached, ids_in, seen_images
from tests.support.images import png
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access

Ask = Callable[..., dict[str, Any]]


def _invoke(agent: Any, said: HumanMessage, config: RunnableConfig | None = None) -> dict[str, Any]:
    done: dict[str, Any] = agent.invoke({"messages": [said]}, config)
    return done


def _ainvoke(agent: Any, said: HumanMessage, config: RunnableConfig | None = None) -> dict[str, Any]:
    done: dict[str, Any] = asyncio.run(agent.ainvoke({"messages": [said]}, config))
    return done


def _stream(agent: Any, said: HumanMessage, config: RunnableConfig | None = None) -> dict[str, Any]:
    done: dict[str, Any] = list(agent.stream({"messages": [said]}, config, stream_mode="values"))[-1]
    return done


@pytest.fixture(params=[_invoke, _ainvoke, _stream], ids=["blocking", "async", "streaming"])
def ask(request: pytest.FixtureRequest) -> Ask:
    function: Ask = request.param
    return function


def test_the_newest_images_are_shown_and_the_state_keeps_names_only(ask: Ask, tool: WanImageTool) -> None:
    script = [
        calls({"prompt": "a red fox", "n": 2}),
        lambda seen: calls({"prompt": "night", "images": [ids_in(seen)[1]]}, start=1),
        AIMessage("Done."),
    ]
    model = ScriptedChatModel(script=script)
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    done = ask(agent, HumanMessage("A fox at night."))
    first, second, night = ids_in(done["messages"])
    before, between, after = model.received
    assert seen_images(before) == []
    assert seen_images(between) == [(f"{first}:", (512, 512)), (f"{second}:", (512, 512))]
    assert seen_images(after) == [(f"{second}:", (512, 512)), (f"{night}:", (512, 512))]
    assert [message.type for message in after] == ["human", "ai", "tool", "ai", "tool", "human"]
    assert "base64" not in json.dumps([message.model_dump(mode="json") for message in done["messages"]])
    assert [message.type for message in done["messages"]] == ["human", "ai", "tool", "ai", "tool", "ai"]


def test_how_many_and_how_large_can_be_chosen(ask: Ask, tool: WanImageTool) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a fox", "n": 4}), AIMessage("Done.")])
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware(show_last=3, max_side=64)])
    done = ask(agent, HumanMessage("Foxes."))
    assert seen_images(model.received[-1]) == [(f"{name}:", (64, 64)) for name in ids_in(done["messages"])[1:]]
    thumbnails = model.received[-1][-1].content
    assert len(json.dumps(thumbnails)) < 20_000


def test_uploads_stand_under_their_names(ask: Ask, tool: WanImageTool) -> None:
    script = [calls({"prompt": "x", "images": ["upload_2"]}), AIMessage("Done.")]
    model = ScriptedChatModel(script=script)
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    broken = {"type": "image", "file_id": "file-1"}
    said = HumanMessage([*attached(png("red")).content, *attached(png("blue")).content[1:], broken])
    done = ask(agent, said)
    blocks: Any = model.received[0][0].content
    labels = [block["text"] for block in blocks if block["type"] == "text"]
    assert labels == ["Look.", "upload_1:", "upload_2:"]
    # The upload stands in its message; shown once more under its id it would only cost tokens.
    made = done["messages"][2].artifact
    assert [label for label, _ in seen_images(model.received[1])] == [
        "upload_1:",
        "upload_2:",
        f"{made['images'][0]['id']}:",
    ]
    assert done["messages"][0] == said.model_copy(update={"id": done["messages"][0].id})


class WithProfile(ScriptedChatModel):
    """A chat model whose profile says what it takes."""

    profile: Any = None


@pytest.mark.parametrize(
    ("profile", "sees"),
    [(None, True), ({"image_inputs": True}, True), ({"image_inputs": False}, False), ({"tool_calling": True}, True)],
    ids=["unknown", "images", "no images", "says nothing of images"],
)
def test_nothing_is_added_for_a_model_without_image_input(
    profile: Any, sees: bool, ask: Ask, tool: WanImageTool
) -> None:
    model = WithProfile(script=[calls({"prompt": "a fox"}), AIMessage("Done.")], profile=profile)
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    ask(agent, HumanMessage("A fox."))
    assert bool(seen_images(model.received[-1])) is sees


def test_images_stand_after_the_answer_that_made_them_in_later_turns(ask: Ask, tool: WanImageTool) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("One."), AIMessage("It is red.")])
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()], checkpointer=InMemorySaver())
    ask(agent, HumanMessage("A fox."), THREAD)
    ask(agent, HumanMessage("What colour is it?"), THREAD)
    assert [message.type for message in model.received[-1]] == ["human", "ai", "tool", "human", "ai", "human"]
    # Messages are only ever added before the newest one, so that a provider's prompt cache still fits.
    assert model.received[-1][:4] == model.received[-2]


def test_of_parallel_calls_the_images_stand_after_the_last_answer(ask: Ask, tool: WanImageTool) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a"}, {"prompt": "b"}), AIMessage("Two.")])
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    ask(agent, HumanMessage("Two."))
    assert [message.type for message in model.received[-1]] == ["human", "ai", "tool", "tool", "human"]


def test_a_name_is_shown_only_if_the_tool_would_resolve_it(tool: WanImageTool) -> None:
    foreign = tool.store.add(png("green"), scope="somebody else")
    own = tool.store.add(png("blue"), scope="1")
    posted = ToolMessage(
        f"{foreign.id} {own.id}",
        tool_call_id="x",
        name="wan_image",
        artifact={"images": [{**foreign.model_dump(mode="json"), "url": "https://example.com/x.png"}]},
    )
    model = ScriptedChatModel(script=[AIMessage("I see.")])
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware(show_last=5)])
    call = AIMessage("", tool_calls=[{"name": "wan_image", "args": {}, "id": "x", "type": "tool_call"}])
    agent.invoke({"messages": [HumanMessage("Hm."), call, posted, HumanMessage("Show me.")]}, THREAD)
    assert [label for label, _ in seen_images(model.received[-1])] == [f"{own.id}:"]


def test_a_scope_function_sees_context_and_config(sandbox: Sandbox) -> None:
    store = WanStore()
    image = store.add(png(), scope="anna")
    tool = WanImageTool(**access(sandbox, store=store), scope=lambda runtime: runtime.context["user"])
    model = ScriptedChatModel(script=[AIMessage("I see."), AIMessage("I see nothing.")])
    agent: Any = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()], context_schema=dict)
    for user, labels in (("anna", [f"{image.id}:"]), ("ben", [])):
        agent.invoke({"messages": [HumanMessage(f"What is {image.id}?")]}, context={"user": user})
        assert [label for label, _ in seen_images(model.received[-1])] == labels


def test_a_supervisor_sees_what_its_sub_agent_made_and_names_uploads_for_it(sandbox: Sandbox) -> None:
    store = WanStore()
    tool = WanImageTool(**access(sandbox, store=store))
    edit_upload = calls({"prompt": "on a beach", "images": ["upload_1"]})
    worker = create_agent(
        ScriptedChatModel(script=[edit_upload, lambda seen: AIMessage(ids_in(seen)[0])]), tools=[tool]
    )

    @as_tool
    def edit(task: str) -> str:
        """Change a picture."""
        return str(worker.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

    model = ScriptedChatModel(script=[calls({"task": "upload_1 on a beach"}, name="edit"), AIMessage("Done.")])
    agent = create_agent(
        model, tools=[edit], middleware=[WanImageMiddleware(store=store)], checkpointer=InMemorySaver()
    )
    done = agent.invoke({"messages": [attached(png())]}, THREAD)
    made = IMAGE_ID.findall(str(done["messages"][2].content))
    assert [label for label, _ in seen_images(model.received[-1])] == ["upload_1:", f"{made[0]}:"]
    assert store.history()[0].parents == [store.add(png()).id]


def test_without_tool_and_thread_nothing_is_added() -> None:
    model = ScriptedChatModel(script=[AIMessage("I see.")])
    agent = create_agent(model, middleware=[WanImageMiddleware()])
    said = attached(png())
    agent.invoke({"messages": [said]})
    assert model.received[0][0].content == said.content


def test_a_store_that_fails_does_not_end_the_conversation(
    ask: Ask, sandbox: Sandbox, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "images").write_text("a file where a folder should be")
    tool = WanImageTool(**access(sandbox, store=WanStore(tmp_path / "images")))
    model = ScriptedChatModel(script=[AIMessage("Hello.")])
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    assert ask(agent, attached(png()))["messages"][-1].content == "Hello."
    assert "could not be shown" in caplog.text
    with pytest.raises(errors.StoreError):
        tool.store.history()


class Strict(WithProfile):
    """Refuses what Mistral's API answers with 400: a user message right after a tool message."""

    model_name: str = "mistralai/mistral-small-4"

    def _generate(self, messages: list[Any], *args: Any, **kwargs: Any) -> Any:
        for before, after in itertools.pairwise(messages):
            assert (before.type, after.type) != ("tool", "human"), "Unexpected role 'user' after role 'tool'"
        return super()._generate(messages, *args, **kwargs)


def test_a_strict_provider_sees_the_images_before_the_newest_question(ask: Ask, tool: WanImageTool) -> None:
    script = [
        calls({"prompt": "a red fox"}),
        lambda seen: calls({"prompt": "night", "images": [ids_in(seen)[0]]}, start=1),
        AIMessage("Done."),
    ]
    model = Strict(script=script)
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    done = ask(agent, HumanMessage("A fox at night."))
    fox, night = ids_in(done["messages"])
    assert seen_images(model.received[1]) == [(f"{fox}:", (512, 512))]
    assert seen_images(model.received[2]) == [(f"{fox}:", (512, 512)), (f"{night}:", (512, 512))]
    assert [message.type for message in model.received[2]] == ["human", "ai", "tool", "ai", "tool"]
    newest: Any = model.received[2][0].content
    assert newest[-1] == {"type": "text", "text": "A fox at night."}
    assert done["messages"][0].content == "A fox at night."


def test_a_model_that_takes_no_images_is_told_the_names_of_uploads_all_the_same(ask: Ask, tool: WanImageTool) -> None:
    model = WithProfile(script=[AIMessage("Hello.")], profile={"image_inputs": False})
    agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
    ask(agent, HumanMessage([*attached(png("red")).content, *attached(png("blue")).content[1:]]))
    blocks: Any = model.received[0][-1].content
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    assert texts[-2:] == ["upload_1:", "upload_2:"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
def test_the_result_of_the_tool_can_show_small_images_itself(asynchronous: bool, sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox), return_to_model="thumbnail")
    model = Strict(script=[calls({"prompt": "a fox", "n": 2}), AIMessage("Done.")])
    agent = create_agent(model, tools=[tool])
    done = (_ainvoke if asynchronous else _invoke)(agent, HumanMessage("Foxes."))
    content: Any = next(message for message in done["messages"] if isinstance(message, ToolMessage)).content
    first, second = ids_in(done["messages"])
    assert [block["type"] for block in content] == ["text", "text", "image", "text", "image"]
    assert content[0]["text"].startswith("2 images by wan2.7-image")
    assert [content[1]["text"], content[3]["text"]] == [f"{first}:", f"{second}:"]
    assert len(json.dumps(content)) < 100_000


def test_a_function_may_return_text_or_blocks_for_the_model(sandbox: Sandbox) -> None:
    blocks = [{"type": "text", "text": "Two foxes."}]
    tool = WanImageTool(**access(sandbox), return_to_model=lambda result: blocks)
    message = tool.invoke({"name": "wan_image", "args": {"prompt": "a fox"}, "id": "c", "type": "tool_call"})
    assert message.content == blocks
