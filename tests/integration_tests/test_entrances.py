"""Every way in is the same conversation: who sees which image, what it is called, what is paid, what is reported."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import MessagesState
from langgraph.types import Command, RetryPolicy, interrupt

from langchain_wan import Budget, ImageResult, WanImageGenerator, WanImageTool, WanStore
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import attached, sent_pictures
from tests.support.entrances import (
    ENTRANCES,
    GO,
    WITHOUT_MESSAGES,
    Enter,
    build_graph,
    build_node,
    by_agent,
    run,
    to_call,
    to_config,
)
from tests.support.images import png
from tests.support.services import access, posts

THREAD = to_config("1")
pytestmark = pytest.mark.filterwarnings("ignore:This conversation is checkpointed:UserWarning")


@pytest.fixture(params=ENTRANCES)
def enter(request: pytest.FixtureRequest) -> Enter:
    return ENTRANCES[request.param]


@pytest.fixture(params=WITHOUT_MESSAGES)
def enter_blindly(request: pytest.FixtureRequest) -> Enter:
    return WITHOUT_MESSAGES[request.param]


def id_of(message: Any) -> str:
    return ImageResult.from_message(message).images[0].id


class TestTwoUsers:
    """Anna and Ben share a tool; Ben wants what is hers."""

    @pytest.fixture(params=["memory", "folder"])
    def tool(self, request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> WanImageTool:
        return WanImageTool(**access(sandbox, store=WanStore() if request.param == "memory" else WanStore(tmp_path)))

    def test_an_id_of_another_thread_is_unknown(
        self, enter: Enter, tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        hers = id_of(enter(tool, {"prompt": "my face"}, to_config("anna"), GO, asynchronous=asynchronous))
        arguments = {"prompt": "give", "images": [hers]}
        refused = enter(tool, arguments, to_config("ben"), GO, asynchronous=asynchronous)
        assert refused.status == "error"
        assert refused.artifact["error"]["type"] == "ImageReferenceError"
        own = enter(tool, arguments, to_config("anna"), [HumanMessage(f"Edit {hers}.")], asynchronous=asynchronous)
        assert own.status == "success"
        assert len(posts(sandbox)) == 2

    def test_an_upload_of_another_thread_is_unknown(
        self, enter_blindly: Enter, tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        by_agent(tool, {"prompt": "a fox"}, to_config("anna"), [attached(png())], asynchronous=False)
        arguments = {"prompt": "give", "images": ["upload_1"]}
        refused = enter_blindly(tool, arguments, to_config("ben"), GO, asynchronous=asynchronous)
        assert refused.status == "error"
        made = enter_blindly(tool, arguments, to_config("anna"), GO, asynchronous=asynchronous)
        assert made.status == "success"
        assert sent_pictures(sandbox) == [png()]

    def test_a_scope_function_and_a_budget_function_read_the_config(
        self, enter: Enter, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        budgets = {user: Budget(max_images=1) for user in ("anna", "ben")}
        tool = WanImageTool(
            **access(sandbox),
            scope=lambda runtime: runtime.config["configurable"]["user"],
            budget=lambda runtime: budgets[runtime.config["configurable"]["user"]],
        )
        configs = {user: to_config("1", user=user) for user in budgets}
        hers = id_of(enter(tool, {"prompt": "my face"}, configs["anna"], GO, asynchronous=asynchronous))
        for arguments, code in (
            ({"prompt": "give", "images": [hers]}, "ImageReferenceError"),
            ({"prompt": "a fox"}, None),
            ({"prompt": "a hare"}, "BudgetExceededError"),
        ):
            answer = enter(tool, arguments, configs["ben"], GO, asynchronous=asynchronous)
            assert (answer.artifact.get("error") or {}).get("type") == code


class TestNames:
    def test_ids_made_in_one_way_work_in_every_other(
        self, enter: Enter, tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        name = id_of(enter(tool, {"prompt": "a fox"}, THREAD, GO, asynchronous=asynchronous))
        for other in ENTRANCES.values():
            answer = other(tool, {"prompt": "night", "images": [name]}, THREAD, GO, asynchronous=asynchronous)
            assert ImageResult.from_message(answer).parents == [name]

    def test_an_id_and_an_upload_work_after_a_restart(
        self, enter: Enter, sandbox: Sandbox, tmp_path: Path, asynchronous: bool
    ) -> None:
        first, second = (WanImageTool(**access(sandbox, store=WanStore(tmp_path))) for _ in range(2))
        said = [attached(png())]
        name = id_of(by_agent(first, {"prompt": "a fox"}, THREAD, said, asynchronous=False))
        answer = enter(
            second, {"prompt": "both", "images": [name, "upload_1"]}, THREAD, said, asynchronous=asynchronous
        )
        assert answer.status == "success"
        assert sent_pictures(sandbox)[1] == png()

    def test_a_generator_in_a_node_has_the_names_of_the_thread(
        self, tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        fox = id_of(by_agent(tool, {"prompt": "a fox"}, THREAD, [attached(png())], asynchronous=asynchronous))
        results: list[ImageResult] = []

        def node(state: MessagesState) -> dict[str, Any]:
            results.append(tool.generator.invoke({"prompt": "both", "images": [fox, "upload_1"]}))
            return {"messages": []}

        async def anode(state: MessagesState) -> dict[str, Any]:
            results.append(await tool.generator.ainvoke({"prompt": "both", "images": [fox, "upload_1"]}))
            return {"messages": []}

        run(build_graph(anode if asynchronous else node), {"messages": []}, THREAD, asynchronous=asynchronous)
        made = results[0].images[0].id
        assert sent_pictures(sandbox)[1] == png()
        answer = by_agent(tool, {"prompt": "night", "images": [made]}, THREAD, GO, asynchronous=asynchronous)
        assert ImageResult.from_message(answer).parents == [made]

    def test_a_generator_in_a_node_does_not_open_an_image_of_another_thread(
        self, tool: WanImageTool, asynchronous: bool
    ) -> None:
        hers = id_of(by_agent(tool, {"prompt": "my face"}, to_config("anna"), GO, asynchronous=asynchronous))
        request = {"prompt": "give", "images": [hers]}
        node = build_node((tool.generator, request), asynchronous=asynchronous)
        with pytest.raises(Exception, match="can't be used"):
            run(build_graph(node), {"messages": []}, to_config("ben"), asynchronous=asynchronous)


def pause(state: MessagesState) -> dict[str, Any]:
    interrupt("Go on?")
    return {"messages": []}


class TestNobodyPaysTwice:
    """A node that runs again, after an interrupt or a failure, gets the images that it has paid for."""

    def finish(self, node: Any, sandbox: Sandbox, *, asynchronous: bool) -> None:
        graph = build_graph(node, checkpointer=InMemorySaver())
        run(graph, {"messages": list(GO)}, THREAD, asynchronous=asynchronous)
        before = len(posts(sandbox))
        run(graph, Command(resume="yes"), THREAD, asynchronous=asynchronous)
        assert len(posts(sandbox)) == before

    @pytest.mark.parametrize("kind", ["tool", "generator", "chain with the tool", "chain with the generator"])
    def test_a_node_that_runs_again_after_an_interrupt(
        self, kind: str, tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        call = to_call({"prompt": "a fox"})
        forms: dict[str, tuple[Any, Any]] = {
            "tool": (tool, call),
            "generator": (tool.generator, "a fox"),
            "chain with the tool": (RunnableLambda(lambda text: call) | tool, "a fox"),
            "chain with the generator": (RunnableLambda(str) | tool.generator, "a fox"),
        }
        runnable, value = forms[kind]

        def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            runnable.invoke(value, config)
            return pause(state)

        async def anode(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            await runnable.ainvoke(value)
            return pause(state)

        self.finish(anode if asynchronous else node, sandbox, asynchronous=asynchronous)
        assert len(posts(sandbox)) == 1

    def test_a_node_that_enters_in_any_way_and_runs_again_after_an_interrupt(
        self, enter: Enter, tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
    ) -> None:
        names: list[str] = []

        def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            answer = enter(tool, {"prompt": "a fox"}, config, state["messages"], asynchronous=asynchronous)
            names.append(id_of(answer))
            return pause(state)

        self.finish(node, sandbox, asynchronous=False)
        assert len(posts(sandbox)) == 1
        assert names[0] == names[1]

    def test_equal_and_different_calls_of_one_node_are_each_recognised(
        self, tool: WanImageTool, sandbox: Sandbox
    ) -> None:
        made: list[list[str]] = []

        def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
            generator = tool.generator
            results = [
                *generator.batch(["a fox", "a fox", "a hare"]),
                generator.invoke("a fox"),
                *(ImageResult.from_message(tool.invoke(to_call({"prompt": "a fox"}), config)) for _ in range(2)),
            ]
            made.append(sorted(result.images[0].id for result in results))
            return pause(state)

        self.finish(node, sandbox, asynchronous=False)
        assert len(set(made[0])) == 6
        assert made[0] == made[1]

    def test_a_node_that_is_tried_again_by_its_retry_policy(self, tool: WanImageTool, sandbox: Sandbox) -> None:
        from langgraph.graph import END, START, StateGraph

        failures = [ConnectionError("the database is away")]

        def node(state: MessagesState) -> dict[str, Any]:
            tool.generator.invoke("a fox")
            if failures:
                raise failures.pop()
            return {"messages": []}

        graph = StateGraph(MessagesState)
        graph.add_node("node", node, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.01))
        graph.add_edge(START, "node")
        graph.add_edge("node", END)
        graph.compile(checkpointer=InMemorySaver()).invoke({"messages": []}, THREAD)
        assert len(posts(sandbox)) == 1

    def test_a_task_of_the_functional_api(self, tool: WanImageTool, sandbox: Sandbox) -> None:
        @task
        def paint(prompt: str) -> str:
            return tool.generator.invoke(prompt).images[0].id

        @entrypoint(checkpointer=InMemorySaver())
        def workflow(prompt: str) -> list[str]:
            ids = [paint(prompt).result(), paint(prompt).result(), tool.generator.invoke(prompt).images[0].id]
            interrupt("Go on?")
            return ids

        workflow.invoke("a fox", THREAD)
        assert len(set(workflow.invoke(Command(resume="yes"), THREAD))) == 3
        assert len(posts(sandbox)) == 3

    def test_the_next_turn_of_a_conversation_is_another_call(
        self, enter: Enter, tool: WanImageTool, asynchronous: bool
    ) -> None:
        ids = {id_of(enter(tool, {"prompt": "a fox"}, THREAD, GO, asynchronous=asynchronous)) for _ in range(2)}
        assert len(ids) == 2

    @pytest.mark.parametrize("kind", ["loop", "chain"])
    def test_outside_of_a_graph_an_uncertain_call_is_not_sent_again(self, kind: str, asynchronous: bool) -> None:
        with Sandbox(faults=["disconnect"]) as service:
            tool = WanImageTool(**access(service, store=WanStore()))
            for _ in range(2):
                answer = ENTRANCES[kind](tool, {"prompt": "a fox"}, THREAD, GO, asynchronous=asynchronous)
                assert answer.artifact["error"]["type"] == "PaymentUncertainError"
            assert len(posts(service)) == 1

    def test_after_a_restart_a_node_that_runs_again_pays_nothing(self, sandbox: Sandbox, tmp_path: Path) -> None:
        saver = InMemorySaver()

        def process(value: Any) -> None:
            generator = WanImageGenerator(**access(sandbox, store=WanStore(tmp_path)))

            def node(state: MessagesState) -> dict[str, Any]:
                generator.invoke("a fox")
                return pause(state)

            build_graph(node, checkpointer=saver).invoke(value, THREAD)

        process({"messages": list(GO)})
        process(Command(resume="yes"))
        assert len(posts(sandbox)) == 1


class Stages(BaseCallbackHandler):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.told.append(data["stage"])


class TestProgress:
    def test_the_callbacks_of_a_run_hear_every_stage(
        self, enter: Enter, tool: WanImageTool, asynchronous: bool
    ) -> None:
        stages = Stages()
        enter(tool, {"prompt": "a fox"}, {**THREAD, "callbacks": [stages]}, GO, asynchronous=asynchronous)
        assert (stages.told[0], stages.told[-1]) == ("queued", "done")

    @pytest.mark.parametrize("kind", ["tool", "generator", "chain"])
    def test_a_node_reports_progress_in_the_custom_stream(
        self, kind: str, tool: WanImageTool, asynchronous: bool
    ) -> None:
        forms: dict[str, tuple[Any, Any]] = {
            "tool": (tool, to_call({"prompt": "a fox"})),
            "generator": (tool.generator, "a fox"),
            "chain": (RunnableLambda(str) | tool.generator, "a fox"),
        }
        runnable, value = forms[kind]

        def node(state: MessagesState) -> dict[str, Any]:
            runnable.invoke(value)
            return {"messages": []}

        async def anode(state: MessagesState) -> dict[str, Any]:
            await runnable.ainvoke(value)
            return {"messages": []}

        graph = build_graph(anode if asynchronous else node)

        async def collect() -> list[Any]:
            return [event async for event in graph.astream({"messages": []}, THREAD, stream_mode="custom")]

        events = (
            asyncio.run(collect())
            if asynchronous
            else list(graph.stream({"messages": []}, THREAD, stream_mode="custom"))
        )
        stages = [event["stage"] for event in events]
        assert (stages[0], stages[-1]) == ("queued", "done")
        assert {event["tool_call_id"] for event in events} == ({"call_0"} if kind == "tool" else {None})


@pytest.mark.parametrize("scope", ["store", "thread", lambda runtime: runtime.config["configurable"]["user"]])
@pytest.mark.parametrize("wrap", [lambda generator: generator, lambda generator: generator.bind(n=1).with_retry()])
def test_the_generator_of_a_tool_has_its_scope(scope: Any, wrap: Any, sandbox: Sandbox, asynchronous: bool) -> None:
    tool = WanImageTool(**access(sandbox, store=WanStore()), scope=scope)
    config = to_config("1", user="anna")
    name = id_of(by_agent(tool, {"prompt": "a fox"}, config, GO, asynchronous=asynchronous))
    results: list[ImageResult] = []

    def node(state: MessagesState) -> dict[str, Any]:
        results.append(wrap(tool.generator).invoke({"prompt": "night", "images": [name]}))
        return {"messages": []}

    build_graph(node).invoke({"messages": []}, config)
    arguments = {"prompt": "day", "images": [results[0].images[0].id]}
    assert by_agent(tool, arguments, config, GO, asynchronous=asynchronous).status == "success"


def test_outside_of_a_graph_code_sees_the_whole_store(sandbox: Sandbox) -> None:
    store = WanStore()
    image = store.add(png(), scope="anna")
    generator = WanImageGenerator(**access(sandbox, store=store))
    assert generator.invoke({"prompt": "night", "images": [image.id]}).parents == [image.id]


def test_a_view_of_a_store_is_the_scope_of_a_generator_in_any_thread(sandbox: Sandbox) -> None:
    store = WanStore()
    image = store.add(png(), scope="anna")
    generator = WanImageGenerator(**access(sandbox, store=store.scoped("anna")))
    result = generator.invoke({"prompt": "night", "images": [image.id]}, THREAD)
    assert store.scoped("anna").get(result.images[0].id) is not None
    assert store.scoped("1").get(result.images[0].id) is None


def test_the_ids_of_an_answer_by_a_model_are_known_to_a_loop(tool: WanImageTool) -> None:
    message = AIMessage("", tool_calls=[{"name": "wan_image", "args": {"prompt": "a fox"}, "id": "1"}])
    (call,) = message.tool_calls
    answer = tool.invoke(call, THREAD)
    assert tool.store.scoped("1").get(id_of(answer)) is not None
