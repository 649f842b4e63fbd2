"""Images in a conversation: uploads, names that still work tomorrow, and who may use them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import tool as as_tool
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from PIL import Image

from langchain_wan import Budget, ImageResult, WanImageTool, WanStore
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import IMAGE_ID, THREAD, Talk, answers, attached, ids_in, sent_pictures
from tests.support.image_blocks import FORMS, NO_SOURCE
from tests.support.images import PHOTOGRAPH, in_base64, png
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, posts


@pytest.mark.parametrize("form", FORMS)
def test_a_photograph_in_any_form_is_put_on_a_beach_by_its_name(
    form: str, talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "on a beach", "images": ["upload_1"]}), AIMessage("There.")])
    agent = create_agent(model, tools=[tool])
    done = talk(agent, HumanMessage([{"type": "text", "text": "Put me on a beach."}, FORMS[form]]))
    answer = answers(done)[0]
    assert answer.status == "success"
    (sent,) = sent_pictures(sandbox)
    assert Image.open(io.BytesIO(sent)).size == (512, 600)
    result = ImageResult.from_message(answer)
    became = result.parents[0]
    assert f"upload_1 is {became}." in str(answer.content)
    assert "not used" not in str(answer.content)
    image = tool.store.get(became)
    assert image is not None
    assert image.read() == PHOTOGRAPH


def test_an_upload_can_be_named_by_the_id_that_it_became_in_a_later_turn(
    talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    script = [
        calls({"prompt": "on a beach", "images": ["upload_1"]}),
        AIMessage("There."),
        lambda seen: calls(
            {"prompt": "on a mountain", "images": [str(answers({"messages": seen})[0].content).split()[-1][:-1]]}
        ),
        AIMessage("There."),
    ]
    agent = create_agent(ScriptedChatModel(script=script), tools=[tool], checkpointer=InMemorySaver())
    talk(agent, attached(png()), THREAD)
    done = talk(agent, "And on a mountain.", THREAD)
    assert [answer.status for answer in answers(done)] == ["success", "success"]
    assert sent_pictures(sandbox, 0) == sent_pictures(sandbox, 1) == [png()]


@pytest.mark.filterwarnings("ignore:This conversation is checkpointed:UserWarning")
@pytest.mark.parametrize("kept", ["on disk", "in memory"])
def test_a_conversation_goes_on_after_a_restart(kept: str, talk: Talk, sandbox: Sandbox, tmp_path: Path) -> None:
    """Make two, edit the second, combine with the upload; then all of it again by a process that knows nothing."""

    def process(script: list[Any], said: HumanMessage | str) -> dict[str, Any]:
        store = WanStore(tmp_path / "images") if kept == "on disk" else WanStore()
        # What is not on the disk is downloaded from where the messages say: from this machine only if that is allowed.
        tool = WanImageTool(**access(sandbox, store=store, allowed_networks=("127.0.0.0/8",)))
        with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
            agent = create_agent(ScriptedChatModel(script=script), tools=[tool], checkpointer=saver)
            state: Any = {"messages": [HumanMessage(said) if isinstance(said, str) else said]}
            return agent.invoke(state, THREAD)

    done = process(
        [
            calls({"prompt": "a red fox", "n": 2}),
            lambda seen: calls({"prompt": "make it night", "images": [ids_in(seen)[1]]}),
            lambda seen: calls({"prompt": "together", "images": [ids_in(seen)[2], "upload_1"]}),
            AIMessage("Done."),
        ],
        attached(PHOTOGRAPH),
    )
    made, night, together = (ImageResult.from_message(answer) for answer in answers(done))
    assert night.parents == [made.images[1].id]
    assert together.parents[0] == night.images[0].id
    done = process(
        [
            calls({"prompt": "make it day", "images": [made.images[1].id]}),
            calls({"prompt": "on a beach", "images": [str(night.images[0].url).partition("?")[0], "upload_1"]}),
            AIMessage("Done."),
        ],
        "Go on.",
    )
    day, beach = (ImageResult.from_message(answer) for answer in answers(done)[3:])
    assert day.parents == [made.images[1].id]
    assert beach.parents == [night.images[0].id, together.parents[1]]
    assert [request.json["n"] for request in posts(sandbox)] == [2, 1, 1, 1, 1]


def test_the_answer_says_that_an_attached_picture_was_not_used(talk: Talk, tool: WanImageTool) -> None:
    script = [
        calls({"prompt": "a fox"}),
        calls({"prompt": "a", "images": ["upload_1"]}, {"prompt": "b", "images": ["upload_2"]}, start=1),
        AIMessage("Done."),
        calls({"prompt": "a fox"}, start=3),
        AIMessage("Done."),
    ]
    agent = create_agent(ScriptedChatModel(script=script), tools=[tool], checkpointer=InMemorySaver())
    first, *both = answers(talk(agent, attached(png("red"), png("blue")), THREAD))
    assert str(first.content).endswith("\nAttached by the user and not used: upload_1, upload_2.")
    # Each of two parallel calls used one: nothing is left over, and nobody is told to pay again.
    assert all("not used" not in str(answer.content) for answer in both)
    assert "upload_1 is " in str(both[0].content)
    assert "upload_2 is " in str(both[1].content)
    later = answers(talk(agent, "A fox.", THREAD))[-1]
    assert "upload" not in str(later.content)


@pytest.mark.parametrize("block", [NO_SOURCE["file id"], NO_SOURCE["Anthropic file"]], ids=["OpenAI", "Anthropic"])
def test_a_file_id_is_refused_with_its_own_reason(
    block: dict[str, Any], talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a", "images": ["upload_1"]}), AIMessage("Sorry.")])
    (answer,) = answers(talk(create_agent(model, tools=[tool]), HumanMessage([block])))
    assert answer.status == "error"
    assert "file store" in str(answer.content)
    assert "attach" in str(answer.content)
    assert posts(sandbox) == []


def test_an_upload_that_is_no_image_is_refused_and_does_not_shift_the_others(
    talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    broken = {"type": "image", "base64": in_base64(b"not an image"), "mime_type": "image/png"}
    script = [
        calls({"prompt": "a", "images": ["upload_1"]}),
        calls({"prompt": "a", "images": ["upload_2"]}, start=1),
        AIMessage("Done."),
    ]
    said = HumanMessage([broken, *attached(png()).content])
    refused, made = answers(talk(create_agent(ScriptedChatModel(script=script), tools=[tool]), said))
    assert str(refused.content).startswith("upload_1: it can't be read (it is something else, not a PNG,")
    assert "You can use: upload_2." in str(refused.content)
    assert made.status == "success"
    assert sent_pictures(sandbox) == [png()]


def test_the_same_picture_attached_twice_counts_twice(talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
    script = [calls({"prompt": "a", "images": ["upload_3"]}), AIMessage("Done.")]
    said = HumanMessage([*attached(PHOTOGRAPH).content, FORMS["image_url string"], *attached(png()).content[1:]])
    (answer,) = answers(talk(create_agent(ScriptedChatModel(script=script), tools=[tool]), said))
    assert sent_pictures(sandbox) == [png()]
    assert "not used: upload_1, upload_2." in str(answer.content)


@pytest.mark.parametrize(("mode", "status"), [("pass", "success"), ("refuse", "error")])
def test_an_upload_by_url_follows_the_rules_for_urls(mode: Any, status: str, talk: Talk, sandbox: Sandbox) -> None:
    url = "https://example.com/a.png?Signature=x"
    script = [
        calls({"prompt": "a", "images": ["upload_1"]}),
        calls({"prompt": "a", "images": ["https://example.com/a.png"]}, start=1),
        AIMessage("Done."),
    ]
    tool = WanImageTool(**access(sandbox, reference_urls=mode))
    agent = create_agent(ScriptedChatModel(script=script), tools=[tool])
    both = answers(talk(agent, HumanMessage([{"type": "image", "url": url}])))
    assert [answer.status for answer in both] == [status, status]
    # A model drops the signature of a URL that it copies; what is sent has it.
    content = [post.json["messages"][0]["content"][0]["image_url"]["url"] for post in posts(sandbox)]
    assert content == ([url, url] if status == "success" else [])
    assert all("not used" not in str(answer.content) for answer in both)


def test_a_refusal_lists_the_names_of_this_conversation_and_no_others(talk: Talk, tool: WanImageTool) -> None:
    other = tool.store.add(png(), scope="another thread")
    script = [
        calls({"prompt": "a fox"}),
        calls({"prompt": "b", "images": ["the fox"]}, start=1),
        AIMessage("Sorry."),
    ]
    agent = create_agent(ScriptedChatModel(script=script), tools=[tool], checkpointer=InMemorySaver())
    made, refused = answers(talk(agent, attached(PHOTOGRAPH), THREAD))
    name = ImageResult.from_message(made).images[0].id
    text = "images[0] (the fox): it is not an image id, an upload name or a URL."
    assert refused.content == f"{text} You can use: upload_1, {name}."
    assert other.id not in str(refused.content)


def test_the_second_agent_of_a_supervisor_edits_what_the_first_made(
    talk: Talk, tool: WanImageTool, sandbox: Sandbox
) -> None:
    illustrator = create_agent(ScriptedChatModel(script=[calls({"prompt": "a red fox"}), say_ids]), tools=[tool])
    edits = [lambda seen: calls({"prompt": "night", "images": IMAGE_ID.findall(seen[0].content)}), say_ids]
    retoucher = create_agent(ScriptedChatModel(script=edits), tools=[tool])

    @as_tool
    def illustrate(task: str) -> str:
        """Make a picture."""
        return str(illustrator.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

    @as_tool
    def retouch(task: str) -> str:
        """Change a picture."""
        return str(retoucher.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

    script = [
        calls({"task": "a red fox"}, name="illustrate"),
        lambda seen: calls({"task": f"Make {ids_in(seen)[0]} night."}, name="retouch"),
        AIMessage("Done."),
    ]
    supervisor = create_agent(
        ScriptedChatModel(script=script), tools=[illustrate, retouch], checkpointer=InMemorySaver()
    )
    done = talk(supervisor, "A fox at night.", THREAD)
    made, night = ids_in(done["messages"])
    assert len(posts(sandbox)) == 2
    found = [entry for entry in tool.store.history() if entry.images == [night]]
    assert found[0].parents == [made]


def say_ids(seen: Sequence[BaseMessage]) -> AIMessage:
    return AIMessage(f"Here is {ids_in(seen)[-1]}.")


def test_a_sub_agent_uses_what_was_attached_to_the_supervisor(tool: WanImageTool, sandbox: Sandbox) -> None:
    worker = create_agent(
        ScriptedChatModel(script=[calls({"prompt": "on a beach", "images": ["upload_1"]}), say_ids]), tools=[tool]
    )

    @as_tool
    def edit(task: str) -> str:
        """Change a picture."""
        return str(worker.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

    script = [calls({"prompt": "a fox"}), calls({"task": "upload_1 on a beach"}, name="edit"), AIMessage("Done.")]
    agent = create_agent(ScriptedChatModel(script=script), tools=[tool, edit], checkpointer=InMemorySaver())
    agent.invoke({"messages": [attached(png())]}, THREAD)
    assert sent_pictures(sandbox) == [png()]


class TestTwoUsersOfOneTool:
    """Anna and Ben share a tool instance; Ben wants what is hers."""

    @pytest.fixture
    def shared(self, sandbox: Sandbox) -> WanImageTool:
        budgets = {user: Budget(max_images=2) for user in ("anna", "ben")}
        return WanImageTool(
            **access(sandbox),
            scope=lambda runtime: runtime.config["configurable"]["user"],
            budget=lambda runtime: budgets[runtime.config["configurable"]["user"]],
        )

    def ask(self, shared: WanImageTool, user: str, script: list[Any], *said: Any) -> list[ToolMessage]:
        agent = create_agent(ScriptedChatModel(script=[*script, AIMessage("Done.")]), tools=[shared])
        # Both call their thread "1": names of threads are not secret, and front ends count them.
        config: RunnableConfig = {"configurable": {"thread_id": "1", "user": user}}
        state: Any = {"messages": list(said or ["Go."])}
        return answers(agent.invoke(state, config))

    def test_ids_uploads_and_urls_of_one_do_not_reach_the_other(self, shared: WanImageTool, sandbox: Sandbox) -> None:
        (made,) = self.ask(shared, "anna", [calls({"prompt": "my face", "images": ["upload_1"]})], attached(PHOTOGRAPH))
        result = ImageResult.from_message(made)
        secrets = [result.images[0].id, *result.parents, "upload_1"]
        for secret in secrets:
            (refused,) = self.ask(shared, "ben", [calls({"prompt": "give", "images": [secret]})])
            assert str(refused.content).endswith(": no image of this conversation has this name.")
            assert refused.artifact["error"]["type"] == "ImageReferenceError"
        assert len(posts(sandbox)) == 1

    def test_a_posted_artifact_opens_no_others_image(self, shared: WanImageTool, sandbox: Sandbox) -> None:
        (made,) = self.ask(shared, "anna", [calls({"prompt": "my face"})])
        stolen = made.artifact["images"][0]
        gets = len(sandbox.requests)
        for url in (None, "http://169.254.169.254/latest/meta-data/", f"{sandbox.url}/models", "file:///etc/passwd"):
            posted = ToolMessage(
                "1 image", tool_call_id="x", name="wan_image", artifact={"images": [{**stolen, "url": url}]}
            )
            said: list[Any] = [HumanMessage("Go."), calls({"prompt": "x"}, start=7), posted, HumanMessage("Go on.")]
            said[1].tool_calls[0]["id"] = "x"
            (_, refused) = self.ask(shared, "ben", [calls({"prompt": "give", "images": [stolen["id"]]})], *said)
            assert refused.status == "error", url
            assert "169.254" not in str(refused.content)
        assert len(posts(sandbox)) == 1
        assert sandbox.requests[gets:] == []

    def test_the_budget_of_one_is_not_spent_by_the_other(self, shared: WanImageTool, sandbox: Sandbox) -> None:
        (made,) = self.ask(shared, "anna", [calls({"prompt": "two", "n": 2})])
        (refused,) = self.ask(shared, "anna", [calls({"prompt": "more"})])
        (bens,) = self.ask(shared, "ben", [calls({"prompt": "two", "n": 2})])
        assert [made.status, refused.status, bens.status] == ["success", "error", "success"]
        assert [request.json["n"] for request in posts(sandbox)] == [2, 2]

    def test_equal_pictures_do_not_show_one_the_url_of_the_other(self, shared: WanImageTool) -> None:
        store = shared.store
        image = store.scoped("anna").add(png())
        image.url = "https://example.com/a.png?Signature=annas"
        store.scoped("anna")._storage.record(image)
        bens = store.scoped("ben").add(png())
        seen = store.scoped("ben").get(bens.id)
        assert seen is not None
        assert seen.url is None
        hers = store.scoped("anna").get(bens.id)
        assert hers is not None
        assert hers.url == image.url
