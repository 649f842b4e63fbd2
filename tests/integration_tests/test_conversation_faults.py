"""Conversations that once paid twice, showed one person's picture to another, or ended over a message."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain.tools import tool as as_tool
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode

from langchain_wan import RetryPolicy, WanImageTool, WanStore
from langchain_wan.middleware import WanImageMiddleware
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import THREAD, Talk, answers, attached, build_agent, ids_in, seen_images, sent_pictures
from tests.support.fault_server import FaultServer, reply, result_at
from tests.support.image_blocks import FORMS
from tests.support.images import PHOTOGRAPH, png, png_that_claims
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, posts


class TestNobodyPaysTwice:
    def test_a_supervisor_that_gives_its_sub_agent_the_task_again(self, talk: Talk) -> None:
        with Sandbox(faults=["disconnect"]) as service:
            tool = WanImageTool(**access(service))
            worker = build_agent(
                tool,
                calls({"prompt": "a fox"}),
                AIMessage("It failed."),
                calls({"prompt": "a fox"}, start=1),
                AIMessage("It failed again."),
            )

            @as_tool
            def illustrate(task: str) -> str:
                """Make a picture."""
                return str(worker.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

            supervisor = build_agent(
                illustrate,
                calls({"task": "a fox"}, name="illustrate"),
                calls({"task": "a fox"}, start=1, name="illustrate"),
                AIMessage("Sorry."),
                checkpointer=InMemorySaver(),
            )
            talk(supervisor, "A fox.", THREAD)
            assert len(posts(service)) == 1

    def test_a_conversation_that_is_summarised_within_a_turn(self, talk: Talk) -> None:
        with Sandbox(faults=["disconnect"]) as service:
            summariser = SummarizationMiddleware(
                ScriptedChatModel(script=[AIMessage("A summary.")] * 5), trigger=("messages", 4), keep=("messages", 1)
            )
            agent = build_agent(
                WanImageTool(**access(service)),
                calls({"prompt": "a fox"}),
                calls({"prompt": "a hare"}, start=1),
                calls({"prompt": "a fox"}, start=2),
                AIMessage("Done."),
                checkpointer=InMemorySaver(),
                middleware=[summariser],
            )
            talk(agent, "A fox and a hare.", THREAD)
            prompts = [post.json["messages"][0]["content"][-1]["text"] for post in posts(service)]
            assert prompts == ["a fox", "a hare"]

    def test_a_node_that_calls_its_tools_in_a_loop_and_counts_from_call_0(self, tool: WanImageTool) -> None:
        node = ToolNode([tool])

        def loop(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            messages: list[Any] = list(state["messages"])
            for prompt in ("a fox", "a hare", "a fox"):
                asked = calls({"prompt": prompt}).model_copy(update={"id": f"ai-{len(messages)}"})
                messages += [asked, *node.invoke({"messages": [*messages, asked]}, config)["messages"]]
            return {"messages": messages[1:]}

        graph = StateGraph(MessagesState)
        graph.add_node("loop", loop)
        graph.add_edge(START, "loop")
        graph.add_edge("loop", END)
        done = graph.compile(checkpointer=InMemorySaver()).invoke({"messages": [HumanMessage("Go.")]}, THREAD)
        assert [answer.status for answer in answers(done)] == ["success"] * 3
        assert len(set(ids_in(done["messages"]))) == 3


class TestStrangers:
    @pytest.mark.parametrize("message_id", [None, "msg-1"])
    def test_equal_words_do_not_give_one_person_the_picture_of_another(self, message_id: str | None) -> None:
        """No thread id: both belong to the tool object, and its first download failed."""
        files = {"/secret.png": [reply(503), reply(503), reply(503), reply(200, png("green"))]}
        with FaultServer(result_at("/secret.png"), files=files) as server:
            tool = WanImageTool(**access(server, store=WanStore(), retry=RetryPolicy(attempts=1)))
            found = []
            for picture in (png("red"), png("blue"), png("red")):
                agent = build_agent(tool, calls({"prompt": "on a beach", "images": ["upload_1"]}), AIMessage("Done."))
                said = attached(picture).model_copy(update={"id": message_id})
                found.append(answers(agent.invoke({"messages": [said]}))[0])
            first, stranger, again = found
            assert first.status == "error"
            assert stranger.artifact["parents"] == [tool.store.add(png("blue")).id]
            # LangGraph gives a message without an id a new one: then somebody asked again.
            assert again.status == ("success" if message_id is None else "error")
            assert len(server.posts) == (3 if message_id is None else 2)

    def test_a_thread_of_the_same_user_has_its_own_first_upload(self, sandbox: Sandbox) -> None:
        tool = WanImageTool(**access(sandbox, scope=lambda runtime: "anna"))
        for thread, colour in (("1", "red"), ("2", "blue")):
            agent = build_agent(tool, calls({"prompt": "x", "images": ["upload_1"]}), AIMessage("Done."))
            agent.invoke({"messages": [attached(png(colour))]}, {"configurable": {"thread_id": thread}})
            assert sent_pictures(sandbox) == [png(colour)]


class TestMessagesThatAClientMayPost:
    def test_half_of_a_surrogate_pair_in_a_url(self, talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
        said = HumanMessage([{"type": "image", "url": "https://x.org/\ud800"}])
        agent = build_agent(
            tool,
            calls({"prompt": "a fox"}),
            calls({"prompt": "b", "images": ["upload_1"]}, start=1),
            calls({"prompt": "b", "images": ["https://x.org/\ud800"]}, start=2),
            AIMessage("Done."),
            middleware=[WanImageMiddleware()],
        )
        made, *refused = answers(talk(agent, said))
        assert made.status == "success"
        assert [answer.status for answer in refused] == ["error", "error"]
        assert len(posts(sandbox)) == 1

    def test_a_moment_without_a_zone(self, talk: Talk, tool: WanImageTool) -> None:
        made = tool.store.add(png(), scope="elsewhere").model_dump(mode="json")
        artifact = {"images": [{**made, "url": "https://x.org/a.png", "expires_at": "2030-01-01T00:00:00"}]}
        posted = ToolMessage("1 image", tool_call_id="x", artifact=artifact)
        agent = build_agent(tool, calls({"prompt": "a", "images": ["the fox"]}), AIMessage("Sorry."))
        call = AIMessage("", tool_calls=[{"name": "wan_image", "args": {}, "id": "x", "type": "tool_call"}])
        state: Any = {"messages": [HumanMessage("Hm."), call, posted, HumanMessage("Go.")]}
        assert answers(agent.invoke(state))[-1].status == "error"

    def test_the_name_of_a_url_may_be_its_query(self, talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
        urls = ["https://drive.example.com/uc?id=A", "https://drive.example.com/uc?id=B"]
        said = HumanMessage([{"type": "image", "url": url} for url in urls])
        other = "https://drive.example.com/uc?id=C"
        agent = build_agent(tool, calls({"prompt": "a", "images": [urls[0], other]}), AIMessage("Done."))
        talk(agent, said)
        parts = posts(sandbox)[0].json["messages"][0]["content"][:-1]
        assert [part["image_url"]["url"] for part in parts] == [urls[0], other]

    def test_a_thread_may_be_called_0(self, tool: WanImageTool) -> None:
        config: RunnableConfig = {"configurable": {"thread_id": 0}}
        agent = build_agent(tool, calls({"prompt": "a fox"}), AIMessage("Done."), checkpointer=InMemorySaver())
        made = answers(agent.invoke({"messages": [HumanMessage("A fox.")]}, config))[0]
        assert tool.store.scoped("0").get(made.artifact["images"][0]["id"]) is not None

    def test_a_tool_node_may_be_given_a_list(self, tool: WanImageTool, sandbox: Sandbox) -> None:
        class State(TypedDict):
            messages: Annotated[list[Any], add_messages]

        graph = StateGraph(State)
        graph.add_node("tools", lambda state, config: {"messages": ToolNode([tool]).invoke(state["messages"], config)})
        graph.add_edge(START, "tools")
        said = [attached(png()), calls({"prompt": "a", "images": ["upload_1"]})]
        assert answers(graph.compile().invoke({"messages": said}))[0].status == "success"
        assert sent_pictures(sandbox) == [png()]


class TestUploadsThatComeBack:
    def test_one_that_was_pruned_and_is_attached_again(self, talk: Talk, tool: WanImageTool, sandbox: Sandbox) -> None:
        agent = build_agent(
            tool,
            calls({"prompt": "a", "images": ["upload_1"]}),
            AIMessage("Done."),
            calls({"prompt": "b", "images": ["upload_1"]}, start=1),
            AIMessage("Done."),
            checkpointer=InMemorySaver(),
        )
        talk(agent, attached(png()), THREAD)
        tool.store.scoped("1").delete(tool.store.add(png(), scope="1").id)
        talk(agent, attached(png()), THREAD)
        assert sent_pictures(sandbox, 1) == [png()]

    @pytest.mark.filterwarnings("ignore:This conversation is checkpointed:UserWarning")
    def test_the_id_of_one_is_known_at_once_after_a_restart(self, talk: Talk, sandbox: Sandbox) -> None:
        saver = InMemorySaver()
        name = WanStore().add(png()).id
        for script in ([AIMessage("I see.")], [calls({"prompt": "a", "images": [name]}), AIMessage("Done.")]):
            tool = WanImageTool(**access(sandbox, store=WanStore()))
            done = talk(build_agent(tool, *script, checkpointer=saver), attached(png()), THREAD)
        assert answers(done)[0].status == "success"


class TestWhatTheModelReads:
    def test_where_urls_are_refused_an_attached_url_is_explained_once(self, talk: Talk, sandbox: Sandbox) -> None:
        tool = WanImageTool(**access(sandbox, reference_urls="refuse"))
        said = HumanMessage([{"type": "image", "url": "https://x.org/a.png"}])
        agent = build_agent(
            tool, calls({"prompt": "a"}), calls({"prompt": "b", "images": ["upload_1"]}, start=1), AIMessage("Sorry.")
        )
        made, refused = answers(talk(agent, said))
        assert "upload_1" not in made.content
        assert str(refused.content).startswith("upload_1: it was attached by URL, which is not accepted here")
        assert "You can use: img_" in str(refused.content)

    def test_a_picture_that_was_named_by_its_url_was_used(self, talk: Talk, tool: WanImageTool) -> None:
        said = HumanMessage([{"type": "image", "url": "https://x.org/a.png?Signature=1"}])
        agent = build_agent(tool, calls({"prompt": "a", "images": ["https://x.org/a.png"]}), AIMessage("Done."))
        assert "not used" not in str(answers(talk(agent, said))[0].content)

    def test_many_ids_do_not_hide_what_was_just_attached(self, tool: WanImageTool) -> None:
        for size in range(15):
            tool.store.add(png(size=(300, 300 + size)), scope="1")
        agent = build_agent(tool, calls({"prompt": "a", "images": ["photo"]}), AIMessage("Sorry."))
        refused = answers(agent.invoke({"messages": [attached(PHOTOGRAPH)]}, THREAD))[0]
        assert "You can use: upload_1, img_" in str(refused.content)
        assert str(refused.content).count("img_") == 11


class TestMiddleware:
    def test_a_paid_picture_that_cannot_be_decoded_does_not_end_the_conversation(self, talk: Talk) -> None:
        with FaultServer(result_at("/a.png"), files={"/a.png": reply(200, png_that_claims(300, 300))}) as server:
            tool = WanImageTool(**access(server, store=WanStore()))
            agent = build_agent(tool, calls({"prompt": "a"}), AIMessage("Done."), middleware=[WanImageMiddleware()])
            assert talk(agent, "A fox.")["messages"][-1].content == "Done."

    @pytest.mark.parametrize(
        "scope",
        [
            lambda runtime: "anna" if runtime.store is None else "somebody",
            lambda runtime: "anna" if runtime.server_info is None else "somebody",
            lambda runtime: "anna" if runtime.execution_info is not None else "somebody",
            lambda runtime: "anna" if runtime.stream_writer is not None else "somebody",
            lambda runtime: runtime.config["configurable"]["user"],
        ],
        ids=["store", "server_info", "execution_info", "stream_writer", "config"],
    )
    def test_a_scope_function_finds_what_it_finds_in_the_tool(self, scope: Any, talk: Talk, sandbox: Sandbox) -> None:
        tool = WanImageTool(**access(sandbox, scope=scope))
        model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("Done.")])
        agent = create_agent(model, tools=[tool], middleware=[WanImageMiddleware()])
        done = talk(agent, "A fox.", {"configurable": {"user": "anna"}})
        assert [label for label, _ in seen_images(model.received[-1])] == [f"{ids_in(done['messages'])[0]}:"]

    @pytest.mark.parametrize("scope", ["thread", "store", lambda runtime: runtime.config["configurable"]["user"]])
    def test_a_supervisor_shows_the_names_of_its_sub_agents_tool(self, scope: Any, sandbox: Sandbox) -> None:
        wan = WanImageTool(**access(sandbox, scope=scope))
        worker = build_agent(
            wan,
            calls({"prompt": "on a beach", "images": ["upload_1"]}),
            lambda seen: AIMessage(ids_in(seen)[0] if ids_in(seen) else "It failed."),
        )

        @as_tool
        def edit(task: str) -> str:
            """Change a picture."""
            return str(worker.invoke({"messages": [HumanMessage(task)]})["messages"][-1].content)

        model = ScriptedChatModel(script=[calls({"task": "upload_1 on a beach"}, name="edit"), AIMessage("Done.")])
        middleware: Any = [WanImageMiddleware(tool=wan)]
        agent = create_agent(model, tools=[edit], middleware=middleware, checkpointer=InMemorySaver())
        done = agent.invoke({"messages": [attached(png())]}, {"configurable": {"thread_id": "1", "user": "anna"}})
        made = str(done["messages"][2].content)
        assert [label for label, _ in seen_images(model.received[-1])] == ["upload_1:", f"{made}:"]

    def test_what_either_of_two_tools_made_is_shown(self, sandbox: Sandbox) -> None:
        fast = WanImageTool(**access(sandbox, store=WanStore()), name="fast")
        fine = WanImageTool(**access(sandbox, store=WanStore()), name="fine", model="wan2.7-image-pro")
        script = [calls({"prompt": "a"}, name="fine"), calls({"prompt": "b"}, start=1, name="fast"), AIMessage("Done.")]
        model = ScriptedChatModel(script=script)
        agent = create_agent(model, tools=[fast, fine], middleware=[WanImageMiddleware()])
        done = agent.invoke(
            {
                "messages": [
                    HumanMessage("Both."),
                ]
            }
        )
        assert [label for label, _ in seen_images(model.received[-1])] == [
            f"{name}:" for name in ids_in(done["messages"])
        ]


def test_all_forms_of_an_image_are_one_image_with_a_number_each() -> None:
    from langchain_wan._tool.conversation import Conversation

    uploads = Conversation(WanStore(), [HumanMessage([block]) for block in FORMS.values()], "1").uploads()
    assert [upload.name for upload in uploads] == [f"upload_{number}" for number in range(1, len(FORMS) + 1)]
    assert len({upload.image_id for upload in uploads}) == 1
