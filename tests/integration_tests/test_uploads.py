"""Attached images: each name means the image that a person would mean, or the model is asked to use an id."""

from __future__ import annotations

import base64
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    ToolMessage,
    messages_to_dict,
)
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode

from langchain_wan import ImageResult, WanImageTool, WanStore
from langchain_wan._tool.conversation import Conversation
from langchain_wan.middleware import WanImageMiddleware
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import THREAD, Talk, answers, attached, build_agent, seen_images, sent_pictures
from tests.support.entrances import build_graph, build_node, run, to_call
from tests.support.fault_server import FaultServer, reply
from tests.support.images import PHOTOGRAPH, in_base64, png, to_data_uri
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, posts

RED, GREEN, BLUE = png("red"), png("green"), png("blue")
pytestmark = pytest.mark.filterwarnings("ignore:This conversation is checkpointed:UserWarning")
Numbers = dict[str, bytes | None]


@pytest.fixture(params=["memory", "folder"])
def tool(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> WanImageTool:
    return WanImageTool(**access(sandbox, store=WanStore() if request.param == "memory" else WanStore(tmp_path)))


def edit(*names: str, number: int = 0) -> AIMessage:
    return calls({"prompt": "edit", "images": list(names)}, start=number)


def remove_first(agent: Any) -> None:
    """Trim the oldest message and what follows it, up to the next human one."""
    messages = agent.get_state(THREAD).values["messages"]
    second = [index for index, message in enumerate(messages) if isinstance(message, HumanMessage)][1]
    agent.update_state(THREAD, {"messages": [RemoveMessage(str(message.id)) for message in messages[:second]]})


class TestTheSameThreadAgain:
    def test_another_photo_under_the_same_thread_id_is_upload_1(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        """The first example of the documentation, run twice."""
        for photo in (RED, BLUE):
            agent = build_agent(tool, edit("upload_1"), AIMessage("Done."), checkpointer=InMemorySaver())
            (answer,) = answers(talk(agent, attached(photo), THREAD))
            assert answer.status == "success"
            assert sent_pictures(sandbox) == [photo]

    def test_nothing_of_the_conversation_before_is_listed(self, talk: Talk, tool: WanImageTool) -> None:
        first = build_agent(tool, edit("upload_1"), AIMessage("Done."), checkpointer=InMemorySaver())
        made = answers(talk(first, attached(RED), THREAD))[0]
        again = build_agent(tool, edit("the photo"), AIMessage("Sorry."), checkpointer=InMemorySaver())
        (refused,) = answers(talk(again, "Edit my photo.", THREAD))
        assert refused.status == "error"
        assert "img_" not in str(refused.content)
        assert "upload_" not in str(refused.content)
        name = ImageResult.from_message(made).images[0].id  # whoever still has an id may use it
        more = build_agent(tool, edit(name), AIMessage("Done."), checkpointer=InMemorySaver())
        assert answers(talk(more, f"Edit {name}.", THREAD))[0].status == "success"

    def test_what_the_new_conversation_made_is_listed(self, talk: Talk, tool: WanImageTool) -> None:
        for photo in (RED, BLUE):
            agent = build_agent(
                tool, edit("upload_1"), edit("the result", number=1), AIMessage("Sorry."), checkpointer=InMemorySaver()
            )
            made, refused = answers(talk(agent, attached(photo), THREAD))
        name = ImageResult.from_message(made).images[0].id
        assert str(refused.content).endswith(f"You can use: upload_1, {name}.")


class TestMessagesThatChange:
    def test_after_trimming_a_number_that_can_mean_two_images_is_refused_with_the_ids(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        agent = build_agent(
            tool,
            edit("upload_1"),
            AIMessage("Done."),
            edit("upload_2"),
            AIMessage("Done."),
            edit("upload_1", number=2),
            lambda seen: edit(*re.findall(r"img_\w{13}", str(seen[-1].content))[:2], number=3),
            edit("upload_2", number=4),
            AIMessage("Done."),
            checkpointer=InMemorySaver(),
        )
        talk(agent, attached(RED), THREAD)
        talk(agent, attached(BLUE), THREAD)
        remove_first(agent)
        *_, refused, by_ids, second = answers(talk(agent, "Once more.", THREAD))
        assert refused.status == "error"
        red, blue = (tool.store.add(data, scope="1").id for data in (RED, BLUE))
        assert str(refused.content).startswith("upload_1: it can mean ")
        assert red in str(refused.content)
        assert blue in str(refused.content)
        assert by_ids.status == "success"
        assert sorted(sent_pictures(sandbox, -2)) == sorted([RED, BLUE])
        assert second.status == "success"
        assert sent_pictures(sandbox, -1) == [BLUE]

    def test_with_the_middleware_a_label_stays_after_trimming(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        model = ScriptedChatModel(
            script=[
                AIMessage("I see it."),
                AIMessage("I see both."),
                edit("upload_2"),
                edit("upload_1", number=1),
                AIMessage("Done."),
            ]
        )
        agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()], checkpointer=InMemorySaver())
        talk(agent, attached(RED), THREAD)
        talk(agent, attached(BLUE), THREAD)
        remove_first(agent)
        done = talk(agent, "The blue one, then the red one.", THREAD)
        assert [label for label, _ in seen_images(model.received[2])] == ["upload_2:"]
        assert [answer.status for answer in answers(done)] == ["success", "success"]
        assert [sent_pictures(sandbox, post) for post in (0, 1)] == [[BLUE], [RED]]

    def test_with_the_middleware_labels_stay_after_a_summary(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        summariser = SummarizationMiddleware(
            ScriptedChatModel(script=[AIMessage("They showed upload_1.")] * 3),
            trigger=("messages", 4),
            keep=("messages", 2),
        )
        model = ScriptedChatModel(
            script=[
                AIMessage("Yes."),
                AIMessage("Yes."),
                edit("upload_2"),
                edit("upload_1", number=1),
                AIMessage("Done."),
            ]
        )
        agent = create_agent(
            model, tools=[tool], middleware=[summariser, WanImageMiddleware()], checkpointer=InMemorySaver()
        )
        talk(agent, attached(RED), THREAD)
        talk(agent, attached(BLUE), THREAD)
        talk(agent, "Go on.", THREAD)
        assert [sent_pictures(sandbox, post) for post in (0, 1)] == [[BLUE], [RED]]

    def test_what_another_middleware_hides_from_the_model_keeps_its_number(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        class NewestOnly(AgentMiddleware[Any, Any, Any]):
            def wrap_model_call(self, request: Any, handler: Any) -> Any:
                return handler(request.override(messages=_from_newest_image(request.messages)))

            async def awrap_model_call(self, request: Any, handler: Any) -> Any:
                return await handler(request.override(messages=_from_newest_image(request.messages)))

        model = ScriptedChatModel(
            script=[AIMessage("Yes."), edit("upload_2"), edit("upload_1", number=1), AIMessage("Done.")]
        )
        agent = create_agent(
            model, tools=[tool], middleware=[NewestOnly(), WanImageMiddleware()], checkpointer=InMemorySaver()
        )
        talk(agent, attached(RED), THREAD)
        talk(agent, attached(BLUE), THREAD)
        assert [label for label, _ in seen_images(model.received[1])] == ["upload_2:"]
        assert [sent_pictures(sandbox, post) for post in (0, 1)] == [[BLUE], [RED]]

    def test_an_edited_message_makes_the_name_ambiguous(self, talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
        agent = build_agent(
            tool,
            edit("upload_1"),
            AIMessage("Done."),
            edit("upload_1"),
            lambda seen: edit(re.findall(r"(img_\w{13}) \(image 1", str(seen[-1].content))[0], number=1),
            AIMessage("Done."),
            checkpointer=InMemorySaver(),
        )
        first = attached(RED)
        first.id = "msg-1"
        talk(agent, first, THREAD)
        agent.update_state(THREAD, {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES)]})
        edited = attached(BLUE)
        edited.id = "msg-1"
        refused, made = answers(talk(agent, edited, THREAD))
        assert refused.status == "error"
        assert "it can mean" in str(refused.content)
        assert made.status == "success"
        assert sent_pictures(sandbox) == [BLUE]

    def test_a_branch_has_the_images_of_both_branches_by_id_only(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        agent = build_agent(
            tool,
            AIMessage("Yes."),
            edit("upload_2"),
            AIMessage("Done."),
            edit("upload_2"),
            edit("upload_1", number=1),
            AIMessage("Done."),
            checkpointer=InMemorySaver(),
        )
        talk(agent, attached(RED), THREAD)
        fork = agent.get_state(THREAD).config
        talk(agent, attached(GREEN), THREAD)
        refused, first = answers(talk(agent, attached(BLUE), fork))
        assert "it can mean" in str(refused.content)
        assert first.status == "success"
        assert [sent_pictures(sandbox, post) for post in (0, 1)] == [[GREEN], [RED]]

    def test_a_name_that_a_message_tells_stands_after_a_restart_in_memory(self, talk: Talk, sandbox: Sandbox) -> None:
        saver = InMemorySaver()
        first = build_agent(
            WanImageTool(**access(sandbox, store=WanStore())), edit("upload_1"), AIMessage("Done."), checkpointer=saver
        )
        talk(first, attached(RED, BLUE), THREAD)
        messages = first.get_state(THREAD).values["messages"]
        store = WanStore()
        store.add(RED, scope="1")
        # Of the first message only the second image is left.
        trimmed = messages[0].model_copy(update={"content": [messages[0].content[2]]})
        conversation = Conversation(store.scoped("1"), [trimmed, *messages[1:]], "new")
        told = conversation.upload("upload_1")
        assert told is not None
        assert told.is_ambiguous
        blue = conversation.upload("upload_2")
        assert blue is not None
        assert blue.image_id == store.add(BLUE).id


def _from_newest_image(messages: list[Any]) -> list[Any]:
    human = [index for index, message in enumerate(messages) if isinstance(message.content, list)]
    return messages[human[-1] :]


def numbers(messages: list[Any], thread: str | None = "1") -> list[bytes | None]:
    """The image that each upload name means in a new conversation."""
    store = WanStore().scoped("anna")
    conversation = Conversation(store, messages, thread)
    found = []
    for number in range(1, len(conversation.uploads()) + 1):
        upload = conversation.upload(f"upload_{number}")
        image = None if upload is None or upload.image_id is None else store.get(upload.image_id)
        found.append(None if image is None else image.read())
    return found


PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(64)


def with_label(label: str | None) -> Callable[[bytes], dict[str, Any]]:
    return lambda data: {"type": "image", "base64": in_base64(data), **({"mime_type": label} if label else {})}


BLOCKS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "no label": with_label(None),
    "octet-stream": with_label("application/octet-stream"),
    "half a label": with_label("image"),
    "another image's label": with_label("image/webp"),
    "file": lambda data: {"type": "file", "base64": in_base64(data), "mime_type": "image/png"},
    "file with no label": lambda data: {"type": "file", "base64": in_base64(data)},
    "file as octets": lambda data: {"type": "file", "data": in_base64(data), "mime_type": "application/octet-stream"},
    "file as PDF": lambda data: {"type": "file", "base64": in_base64(data), "mime_type": "application/pdf"},
    "OpenAI file": lambda data: {"type": "file", "file": {"file_data": to_data_uri(data), "filename": "a.png"}},
    "OpenAI input_file": lambda data: {"type": "input_file", "file_data": to_data_uri(data), "filename": "a.png"},
    "input_image": lambda data: {"type": "input_image", "image_url": to_data_uri(data)},
    "image_url": lambda data: {"type": "image_url", "image_url": {"url": to_data_uri(data)}},
    "image_url string": lambda data: {"type": "image_url", "image_url": to_data_uri(data)},
    "Anthropic": lambda data: {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": in_base64(data)},
    },
    "Bedrock": lambda data: {"image": {"format": "png", "source": {"bytes": data}}},
    "Google inline_data": lambda data: {"inline_data": {"mime_type": "image/png", "data": in_base64(data)}},
    "Google inlineData": lambda data: {"inlineData": {"mimeType": "image/png", "data": in_base64(data)}},
    "media": lambda data: {"type": "media", "mime_type": "image/png", "data": data},
    "LangChain.js": lambda data: {"type": "image", "mimeType": "image/png", "data": in_base64(data)},
    "AI SDK file": lambda data: {"type": "file", "mediaType": "image/png", "url": to_data_uri(data)},
    "AI SDK image": lambda data: {"type": "image", "image": to_data_uri(data)},
    "AG-UI": lambda data: {"type": "binary", "mimeType": "image/png", "data": in_base64(data)},
    "not standard": lambda data: {
        "type": "non_standard",
        "value": {"type": "input_image", "image_url": to_data_uri(data)},
    },
    "URL-safe": lambda data: {"type": "image", "base64": base64.urlsafe_b64encode(data).decode()},
    "without padding": lambda data: {"type": "image", "base64": in_base64(data).rstrip("=")},
    "folded": lambda data: {"type": "image", "base64": base64.encodebytes(data).decode()},
    "odd data URI": lambda data: {"type": "image", "url": f"data:;base64,{in_base64(data)}"},
}


class TestCounting:
    @pytest.mark.parametrize("form", BLOCKS)
    def test_every_form_counts_and_shifts_nothing(self, form: str) -> None:
        blocks: list[Any] = [BLOCKS["image_url"](RED), BLOCKS[form](GREEN), BLOCKS["image_url"](BLUE)]
        assert numbers([HumanMessage(blocks)]) == [RED, GREEN, BLUE]
        assert numbers([HumanMessage(blocks)], thread=None) == [RED, GREEN, BLUE]

    @pytest.mark.parametrize("form", ["file", "file with no label", "OpenAI file", "AG-UI", "media"])
    def test_a_file_that_is_not_an_image_does_not_count(self, form: str) -> None:
        block = BLOCKS[form](PDF)
        for key in ("mime_type", "mimeType"):
            if key in block:
                block[key] = "application/pdf"
        assert numbers([HumanMessage([BLOCKS["no label"](RED), block, BLOCKS["no label"](BLUE)])]) == [
            RED,
            BLUE,
        ]

    def test_the_same_photo_counts_each_time_in_any_spelling(self) -> None:
        again: list[Any] = [BLOCKS[form](RED) for form in ("no label", "folded", "URL-safe", "Bedrock")]
        messages = [HumanMessage([block]) for block in again]
        assert numbers([*messages, attached(BLUE)]) == [RED] * 4 + [BLUE]

    def test_the_numbers_stay_when_the_conversation_is_read_again(self, store: WanStore) -> None:
        messages: list[Any] = [attached(RED, RED), attached(BLUE, RED)]
        for length in (1, 2, 2):
            conversation = Conversation(store.scoped("anna"), messages[:length], "1")
            conversation.uploads()
        uploads = conversation.uploads()
        ids = [upload.image_id for upload in uploads]
        assert [upload.name for upload in uploads] == ["upload_1", "upload_2", "upload_3", "upload_4"]
        assert ids == [store.add(data).id for data in (RED, RED, BLUE, RED)]


def as_openai(message: HumanMessage) -> dict[str, Any]:
    return {"role": "user", "content": message.content, "id": message.id}


MESSAGES: dict[str, Callable[[HumanMessage], Any]] = {
    "HumanMessage": lambda message: message,
    "HumanMessageChunk": lambda message: HumanMessageChunk(content=message.content),
    "ChatMessage": lambda message: ChatMessage(content=message.content, role="user"),
    "RemoteGraph": lambda message: message.model_dump(),
    "OpenAI": as_openai,
    "pair": lambda message: ("user", message.content),
    "list": lambda message: ["human", message.content],
    "messages_to_dict": lambda message: messages_to_dict([message])[0],
    "serialised": dumpd,
    "AI SDK parts": lambda message: {
        "role": "user",
        "parts": [
            {"type": "file", "mediaType": "image/png", "url": to_data_uri(base64.b64decode(block["base64"]))}
            for block in message.content
            if isinstance(block, dict) and block["type"] == "image"
        ],
    },
    "AI SDK attachments": lambda message: {
        "role": "user",
        "content": "Look.",
        "experimental_attachments": [
            {"contentType": "image/png", "url": to_data_uri(base64.b64decode(block["base64"]))}
            for block in message.content
            if isinstance(block, dict) and block["type"] == "image"
        ],
    },
    "Ollama": lambda message: {
        "role": "user",
        "content": "Look.",
        "images": [
            block["base64"] for block in message.content if isinstance(block, dict) and block["type"] == "image"
        ],
    },
}


NOT_MESSAGES: list[Any] = [
    *(None, 5, "text", b"x", {}, [], [1, 2], ("user",), {"role": 5}, {"role": "user", "content": 5}),
    *({"type": "human", "data": None}, {"type": "constructor", "kwargs": {}}),
    {"role": "user", "content": {"type": "image"}},
]


class TestMessages:
    @pytest.mark.parametrize("form", MESSAGES)
    def test_every_form_of_a_persons_message_is_read(self, form: str) -> None:
        build = MESSAGES[form]
        assert numbers([build(attached(RED)), build(attached(GREEN, BLUE))]) == [RED, GREEN, BLUE]

    @pytest.mark.parametrize("value", NOT_MESSAGES, ids=repr)
    def test_what_is_not_a_message_breaks_nothing(self, value: Any) -> None:
        conversation = Conversation(WanStore(), [value, attached(RED)], "1")
        assert conversation.upload("upload_1") is not None
        conversation.names()
        conversation.unused()


class TestOtherTools:
    def ask(self, talk: Talk, tool: WanImageTool, content: Any, *script: Any) -> list[ToolMessage]:
        call = AIMessage("", tool_calls=[{"name": "chart", "args": {}, "id": "c1", "type": "tool_call"}])
        answer = ToolMessage(content, tool_call_id="c1", name="chart")
        agent = build_agent(tool, *script, AIMessage("Done."), checkpointer=InMemorySaver())
        agent.update_state(THREAD, {"messages": [HumanMessage("A chart."), call, answer]}, as_node="__start__")
        return answers(talk(agent, "Put it on a wall.", THREAD))[1:]

    def test_an_image_of_another_tool_is_listed_by_its_id_and_stored_when_it_is_used(
        self, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        block = {"type": "image", "base64": in_base64(GREEN), "mime_type": "image/png"}
        again = lambda seen: edit(*re.findall(r"img_\w{13}", str(seen[-1].content)), number=1)  # noqa: E731  a turn of the script
        refused, made = self.ask(talk, tool, [{"type": "text", "text": "Here."}, block], edit("the chart"), again)
        assert "You can use: img_" in str(refused.content)
        assert sent_pictures(sandbox) == [GREEN]
        assert made.status == "success"
        name = ImageResult.from_message(made).parents[0]
        image = tool.store.scoped("1").get(name)
        assert image is not None
        assert image.read() == GREEN

    def test_one_at_a_url_is_used_by_its_url(self, talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
        url = "https://example.com/chart.png?Signature=x"
        (made,) = self.ask(talk, tool, [{"type": "image", "url": url}], edit("https://example.com/chart.png"))
        assert made.status == "success"
        assert posts(sandbox)[0].json["messages"][0]["content"][0]["image_url"]["url"] == url

    def test_the_middleware_shows_its_id(self, talk: Talk, tool: WanImageTool) -> None:
        block = {"type": "image", "base64": in_base64(GREEN), "mime_type": "image/png"}
        call = AIMessage("", tool_calls=[{"name": "chart", "args": {}, "id": "c1", "type": "tool_call"}])
        model = ScriptedChatModel(script=[AIMessage("I see.")])
        agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
        agent.invoke(
            {"messages": [HumanMessage("A chart."), call, ToolMessage([block], tool_call_id="c1"), HumanMessage("?")]}
        )
        assert [label for label, _ in seen_images(model.received[0])] == [f"{WanStore().add(GREEN).id}:"]


class TestUnusable:
    """An attachment that can't be used has its reason in the refusal, and is not offered."""

    @pytest.mark.parametrize(
        ("block", "reason"),
        [
            ({"type": "image", "url": "http://127.0.0.1/a.png"}, "it is at a private address: ask the user to attach"),
            ({"type": "image", "url": "https://10.0.0.1/a.png"}, "it is at a private address: ask the user to attach"),
            ({"type": "image", "file_id": "file-1"}, "it is in a model provider's file store: ask the user to attach"),
            ({"type": "image", "base64": in_base64(PDF), "mime_type": "image/png"}, "it can't be read"),
            (
                {"type": "image", "url": "ftp://example.com/a.png"},
                "its URL is not a valid http(s) URL: ask the user to attach",
            ),
        ],
    )
    def test_its_reason_is_told(
        self, block: dict[str, Any], reason: str, talk: Talk, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        agent = build_agent(tool, edit("upload_1"), edit("the photo", number=1), AIMessage("Sorry."))
        refused, again = answers(talk(agent, HumanMessage([block, *attached(RED).content])))
        assert str(refused.content).startswith(f"upload_1: {reason}")
        for message in (refused, again):
            assert str(message.content).endswith("You can use: upload_2.")
        assert posts(sandbox) == []

    @pytest.mark.parametrize("status", [404, 200])
    def test_one_whose_download_fails_for_good_is_not_offered_again(self, status: int, talk: Talk) -> None:
        with FaultServer(files={"/a.png": reply(status, b"<html>")}) as server:
            tool = WanImageTool(
                **access(server, store=WanStore(), reference_urls="fetch", allowed_networks=("127.0.0.0/8",))
            )
            agent = build_agent(
                tool, edit("upload_1"), edit("upload_1", number=1), AIMessage("Sorry."), checkpointer=InMemorySaver()
            )
            said = HumanMessage([{"type": "image", "url": f"{server.origin}/a.png"}])
            for refused in answers(talk(agent, said, THREAD)):
                text = "upload_1: it could not be downloaded: ask the user to attach the picture itself."
                assert refused.content == text
            assert [request.method for request in server.requests] == ["GET"]
            assert server.posts == []

    def test_the_refusal_of_one_image_names_the_one(self, talk: Talk, tool: WanImageTool) -> None:
        agent = build_agent(tool, edit("upload_1", "img_0000000000000", "the hat"), AIMessage("Sorry."))
        (refused,) = answers(talk(agent, attached(RED)))
        assert refused.content == ("images[1]: no image of this conversation has this name. You can use: upload_1.")


def test_a_photograph_in_a_file_block_is_edited(talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
    said = HumanMessage([BLOCKS["file as octets"](PHOTOGRAPH), *attached(RED).content])
    agent = build_agent(tool, edit("upload_2"), AIMessage("Done."))
    talk(agent, said)
    assert sent_pictures(sandbox) == [RED]


class TestStates:
    @pytest.mark.parametrize("form", ["dict", "list", "another key", "dicts"])
    def test_a_tool_node_finds_the_messages_of_any_state(
        self, form: str, asynchronous: bool, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        class State(TypedDict, total=False):
            topics: list[str]
            chat: Annotated[list[Any], operator.add]
            messages: Annotated[list[Any], operator.add]

        said: Any = attached(RED, BLUE)
        key = "chat" if form == "another key" else "messages"
        if form == "dicts":
            said = said.model_dump()
        node = ToolNode([tool], messages_key=key)

        def run_tools(state: State, config: RunnableConfig) -> Any:
            return {key: node.invoke(state["messages"], config)} if form == "list" else node.invoke(state, config)

        async def arun_tools(state: State, config: RunnableConfig) -> Any:
            done = await node.ainvoke(state["messages"] if form == "list" else state, config)
            return {key: done} if form == "list" else done

        graph = StateGraph(State)
        graph.add_node("tools", arun_tools if asynchronous else run_tools)
        graph.add_edge(START, "tools")
        value = {"topics": ["a"], key: [said, edit("upload_2")]}
        run(graph.compile(), value, THREAD, asynchronous=asynchronous)
        assert sent_pictures(sandbox) == [BLUE]


class TestNodes:
    """A node of a graph of one's own, in which nothing is injected, sees the messages of its graph."""

    @pytest.mark.parametrize("kind", ["tool", "generator"])
    def test_an_upload_of_the_state_is_known(
        self, kind: str, asynchronous: bool, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        arguments = {"prompt": "edit", "images": ["upload_2"]}
        steps: tuple[Any, Any] = {"tool": (tool, to_call(arguments)), "generator": (tool.generator, arguments)}[kind]
        made: list[Any] = []

        def node(state: MessagesState) -> dict[str, Any]:
            made.append(steps[0].invoke(steps[1]))
            return {"messages": []}

        async def anode(state: MessagesState) -> dict[str, Any]:
            made.append(await steps[0].ainvoke(steps[1]))
            return {"messages": []}

        for photo in (BLUE, GREEN):  # the same thread, used again
            graph = build_graph(anode if asynchronous else node, checkpointer=InMemorySaver())
            first = png("white" if photo == BLUE else "black")
            run(graph, {"messages": [attached(first, photo)]}, THREAD, asynchronous=asynchronous)
            assert sent_pictures(sandbox) == [photo]

    def test_a_new_conversation_of_the_thread_has_no_upload_of_the_one_before(
        self, asynchronous: bool, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        call = (tool, to_call({"prompt": "edit", "images": ["upload_1"]}))
        for said, status in ((attached(RED), "success"), (HumanMessage("Edit my photo."), "error")):
            graph = build_graph(build_node(call, asynchronous=asynchronous), checkpointer=InMemorySaver())
            done = run(graph, {"messages": [said]}, THREAD, asynchronous=asynchronous)
            assert done["messages"][-1].status == status
        assert sent_pictures(sandbox) == [RED]

    def test_without_a_thread_a_node_edits_what_it_has_just_made(self, tool: WanImageTool) -> None:
        answers_of_node: list[ToolMessage] = []

        def node(state: MessagesState) -> dict[str, Any]:
            first = tool.invoke(to_call({"prompt": "a fox"}))
            name = ImageResult.from_message(first, tool.store).images[0].id
            answers_of_node.append(tool.invoke(to_call({"prompt": "night", "images": [name]})))
            return {"messages": []}

        build_graph(node).invoke({"messages": [HumanMessage("Go.")]})
        assert answers_of_node[0].status == "success", answers_of_node[0]
