"""WanImageTool as agents use it: alone, in a ToolNode, in create_agent, several at once."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic import BaseModel, SecretStr

from langchain_wan import Budget, ImageResult, WanConfigurationError, WanImageTool, WanStore, errors
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import ids_in
from tests.support.fault_server import FaultServer, refusal, reply
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, posts


def tool_call(call_id: str = "c1", **args: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": "wan_image", "args": args}


def run(tool: WanImageTool, call: dict[str, Any], asynchronous: bool) -> ToolMessage:
    message: ToolMessage = asyncio.run(tool.ainvoke(call)) if asynchronous else tool.invoke(call)
    return message


def test_a_dict_gives_text_and_a_tool_call_gives_a_message_with_an_artifact(
    tool: WanImageTool, asynchronous: bool
) -> None:
    text = asyncio.run(tool.ainvoke({"prompt": "a fox"})) if asynchronous else tool.invoke({"prompt": "a fox"})
    assert re.fullmatch(
        r"1 image by wan2\.7-image, \$0\.03\.\nimg_[0-9a-z]{13} 1024x1024 http://\S+\n"
        r"To edit or combine images, call again with their ids in `images`\.",
        text,
    )
    message = run(tool, tool_call(prompt="a fox", n=2), asynchronous)
    assert message.status == "success"
    assert message.name == "wan_image"
    artifact = json.loads(json.dumps(message.artifact))
    assert artifact["cost_usd"] == "0.060"
    assert "base64" not in artifact["images"][0]
    result = ImageResult.from_message(message, tool.store)
    assert [image.id for image in result.images] == ids_in([message])
    assert result.images[1].read().startswith(b"\x89PNG")


def test_a_string_is_the_prompt(tool: WanImageTool) -> None:
    assert "1 image" in tool.invoke("a fox")


def test_what_the_model_reads_can_be_chosen(sandbox: Sandbox) -> None:
    reference = WanImageTool(**access(sandbox), return_to_model="id").invoke({"prompt": "a fox"})
    assert "http" not in reference
    assert WanImageTool(**access(sandbox), return_to_model=lambda result: f"made {len(result.images)}").invoke(
        {"prompt": "a fox"}
    ) == "made 1"  # fmt: skip


def test_base64_stands_in_the_artifact_only_where_it_is_asked_for(sandbox: Sandbox, asynchronous: bool) -> None:
    message = run(WanImageTool(**access(sandbox), artifact_base64=True), tool_call(prompt="a fox"), asynchronous)
    assert base64.b64decode(message.artifact["images"][0]["base64"]).startswith(b"\x89PNG")
    assert len(message.content) < 400


def test_the_schema_offers_what_the_model_may_choose() -> None:
    def properties(tool: WanImageTool) -> dict[str, Any]:
        found: dict[str, Any] = convert_to_openai_tool(tool)["function"]["parameters"]["properties"]
        return found

    assert list(properties(WanImageTool())) == ["prompt", "images", "n", "model"]
    assert properties(WanImageTool())["model"]["enum"] == ["wan2.7-image", "wan2.7-image-pro"]
    assert list(properties(WanImageTool(models=("wan2.7-image",), max_n=1, max_references=0))) == ["prompt"]
    assert list(properties(WanImageTool(model="wan2.7-image-pro"))) == ["prompt", "images", "n"]
    assert properties(WanImageTool(max_n=2, max_references=3))["n"]["maximum"] == 2
    assert properties(WanImageTool(max_references=3))["images"]["maxItems"] == 3
    exposed = properties(WanImageTool(expose=("seed", "size")))
    assert list(exposed) == ["prompt", "images", "n", "model", "seed", "size"]
    pro_first = WanImageTool(models=("wan2.7-image-pro", "wan2.7-image"), model="wan2.7-image-pro")
    assert "Default: wan2.7-image-pro." in properties(pro_first)["model"]["description"]
    assert pro_first.args_schema.model_validate({"prompt": "x"}).model == "wan2.7-image-pro"
    assert "runtime" not in properties(WanImageTool())
    assert len(json.dumps(WanImageTool().args_schema.model_json_schema())) < 900


def test_strict_mode_asks_for_a_schema_that_openai_takes() -> None:
    class Reply(BaseModel):
        title: str

    with FaultServer(reply(400, refusal("invalid"))) as server:
        model = ChatOpenAI(model="gpt-5.2", base_url=server.url, api_key=SecretStr("sk-test"), max_retries=0)
        agent: Any = create_agent(model, tools=[WanImageTool()], response_format=ProviderStrategy(Reply))
        with pytest.raises(Exception, match="400"):
            agent.invoke({"messages": [("user", "a fox")]})
        (function,) = [sent["function"] for sent in json.loads(server.posts[0].body)["tools"]]
    assert function["strict"] is True
    assert function["parameters"]["required"] == ["prompt", "images", "n", "model"]
    assert not any(word in json.dumps(function) for word in ('"default"', "minLength", "maxLength"))


def test_the_description_names_the_prices() -> None:
    assert "$0.03 (wan2.7-image), $0.075 (wan2.7-image-pro)" in WanImageTool().description
    assert "edit" not in WanImageTool(max_references=0).description
    assert WanImageTool(description="Draw.").description == "Draw."


def test_defaults_are_sent_and_exposed_parameters_stand_over_them(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, defaults={"size": "2K", "seed": 1}, expose=("seed",)))
    tool.invoke({"prompt": "a fox"})
    tool.invoke({"prompt": "a fox", "seed": 2})
    assert [(sent.json["size"], sent.json["seed"]) for sent in posts(sandbox)] == [("2K", 1), ("2K", 2)]


@pytest.mark.parametrize("wrong", [{"defaults": {"sizes": "1K"}}, {"defaults": {"seed": -1}}, {"expose": ("nope",)}])
def test_parameters_that_do_not_exist_are_refused_when_the_tool_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"parameters|seed"):
        WanImageTool(**wrong)


@pytest.mark.parametrize(
    "args",
    [
        {"prompt": ""},
        {"prompt": "x", "n": 3},
        {"prompt": "x", "n": 0},
        {"prompt": "x", "n": "3"},
        {"prompt": "x", "model": "wan2.7-image-pro"},
        {"prompt": "x", "images": ["a", "b"]},
        {"prompt": "x", "seed": 1},
        {},
    ],
)
def test_arguments_beyond_what_is_allowed_get_one_short_line(
    args: dict[str, Any], sandbox: Sandbox, asynchronous: bool
) -> None:
    tool = WanImageTool(**access(sandbox, models=("wan2.7-image",), max_n=2, max_references=1))
    message = run(tool, tool_call(**args), asynchronous)
    assert message.status == "error"
    assert len(str(message.content)) < 200
    assert posts(sandbox) == []


def test_limits_hold_for_direct_calls_too(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, models=("wan2.7-image",), max_n=2, max_references=0))
    for wrong in ({"n": 3}, {"n": 0}, {"images": ["img_0000000000000"]}, {"model": "other"}, {"seed": 1}):
        with pytest.raises(errors.InvalidImageRequestError):
            tool._run("x", **wrong)
    assert posts(sandbox) == []


def test_an_error_reaches_the_model_as_advice_and_the_program_as_an_artifact(asynchronous: bool) -> None:
    with Sandbox(faults=["content_policy_violation", "disconnect"]) as service:
        tool = WanImageTool(**access(service))
        refused = run(tool, tool_call(prompt="a fox"), asynchronous)
        assert refused.status == "error"
        assert "Rephrase" in str(refused.content)
        assert refused.artifact["error"]["type"] == "ContentPolicyError"
        assert refused.artifact["error"]["charged"] == "no"
        assert refused.artifact["error"]["max_cost_usd"] is None
        lost = run(tool, tool_call("c2", prompt="a wolf"), asynchronous)
        assert lost.artifact["error"]["charged"] == "maybe"
        assert lost.artifact["error"]["max_cost_usd"] == "0.030"
        assert lost.artifact["error"]["operation_id"]
        assert len(posts(service)) == 2


def test_what_only_the_operator_can_mend_is_unavailable_to_the_model_and_an_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Sandbox(faults=["quota_exceeded"]) as service, caplog.at_level(logging.ERROR, "langchain_wan"):
        message = WanImageTool(**access(service)).invoke(tool_call(prompt="a fox"))
    assert "unavailable" in message.content
    assert "quota" not in message.content
    assert "quota_exceeded" in caplog.text


def test_a_replaced_handler_keeps_the_artifact_and_no_handler_raises() -> None:
    with Sandbox(faults=["quota_exceeded"] * 3) as service:
        replaced = WanImageTool(**access(service, handle_tool_error=lambda error: f"oh: {type(error).__name__}"))
        message = replaced.invoke(tool_call(prompt="a fox"))
        assert message.content == "oh: InsufficientCreditError"
        assert message.artifact["error"]["code"] == "quota_exceeded"
        assert "Top up" in WanImageTool(**access(service), handle_tool_error=True).invoke({"prompt": "x"})
        with pytest.raises(errors.InsufficientCreditError):
            WanImageTool(**access(service), handle_tool_error=False).invoke(tool_call(prompt="a fox"))


def test_a_programmers_mistake_is_raised() -> None:
    with pytest.raises(WanConfigurationError, match="AISA_API_KEY"):
        WanImageTool().invoke(tool_call(prompt="a fox"))


def test_a_runtime_that_a_model_wrote_is_none(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox))
    for forged in ("x", {"config": {"configurable": {"thread_id": "1"}}}, 7):
        assert tool.invoke(tool_call(prompt="a fox", runtime=forged)).status == "success"


def test_the_run_of_the_tool_carries_model_and_cost(tool: WanImageTool, asynchronous: bool) -> None:
    collector = RunCollectorCallbackHandler()
    call = tool_call(prompt="a fox", model="wan2.7-image-pro")
    if asynchronous:
        asyncio.run(tool.ainvoke(call, {"callbacks": [collector]}))
    else:
        tool.invoke(call, {"callbacks": [collector]})
    metadata = collector.traced_runs[0].extra["metadata"]
    assert (metadata["ls_provider"], metadata["ls_model_name"]) == ("aisa", "wan2.7-image-pro")
    assert metadata["usage_metadata"]["total_cost"] == 0.075


def graph_of(tool: WanImageTool) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([tool]))
    graph.add_edge(START, "tools")
    graph.add_edge("tools", END)
    return graph.compile()


def test_it_works_in_a_tool_node(tool: WanImageTool, asynchronous: bool) -> None:
    state = {"messages": [HumanMessage("two foxes"), calls({"prompt": "a fox"}, {"prompt": "a red fox"})]}
    graph = graph_of(tool)
    done = asyncio.run(graph.ainvoke(state)) if asynchronous else graph.invoke(state)
    assert [message.status for message in done["messages"][2:]] == ["success", "success"]


def test_an_agent_makes_edits_and_combines_in_one_conversation(
    tool: WanImageTool, sandbox: Sandbox, asynchronous: bool
) -> None:
    model = ScriptedChatModel(
        script=[
            calls({"prompt": "a red fox", "n": 2}),
            AIMessage("Here are two."),
            lambda seen: calls({"prompt": "make it night", "images": [ids_in(seen)[1]]}),
            AIMessage("It is night."),
            lambda seen: calls({"prompt": "side by side", "images": ids_in(seen)[1:3]}),
            AIMessage("Combined."),
        ]
    )
    agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    done: dict[str, Any] = {}
    for said in ("Two foxes, please.", "Make the second one night.", "Put both side by side."):
        state: Any = {"messages": [HumanMessage(said)]}
        done = asyncio.run(agent.ainvoke(state, config)) if asynchronous else agent.invoke(state, config)
    results = [ImageResult.from_message(m, tool.store) for m in done["messages"] if isinstance(m, ToolMessage)]
    first, second, third = results
    assert second.parents == [first.images[1].id]
    assert third.parents == [first.images[1].id, second.images[0].id]
    sent = [request.json for request in posts(sandbox)]
    assert [body["n"] for body in sent] == [2, 1, 1]
    assert all(isinstance(body["messages"][0]["content"], list) for body in sent)
    shown = sent[1]["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(shown.partition(",")[2]) == first.images[1].read()
    assert [part["type"] for part in sent[2]["messages"][0]["content"]] == ["image_url", "image_url", "text"]


def test_a_model_that_names_what_is_not_there_can_try_again(tool: WanImageTool, sandbox: Sandbox) -> None:
    model = ScriptedChatModel(
        script=[
            calls({"prompt": "a fox"}),
            calls({"prompt": "make it night", "images": ["img_0000000000000"]}),
            lambda seen: calls({"prompt": "make it night", "images": [ids_in(seen)[-1]]}),
            AIMessage("Done."),
        ]
    )
    agent = create_agent(model, tools=[tool])
    done = agent.invoke({"messages": [HumanMessage("a fox at night")]})
    made, refused, night = (m for m in done["messages"] if isinstance(m, ToolMessage))
    assert refused.status == "error"
    assert made.artifact["images"][0]["id"] in str(refused.content)
    assert night.status == "success"
    assert len(posts(sandbox)) == 2


def test_three_calls_of_one_turn_run_side_by_side(asynchronous: bool) -> None:
    with Sandbox(latency=1) as service:
        tool = WanImageTool(**access(service))
        model = ScriptedChatModel(
            script=[calls({"prompt": "a"}, {"prompt": "b"}, {"prompt": "c"}), AIMessage("Three.")]
        )
        agent = create_agent(model, tools=[tool])
        state: Any = {"messages": [HumanMessage("three")]}
        began = time.monotonic()
        done = asyncio.run(agent.ainvoke(state)) if asynchronous else agent.invoke(state)
        assert time.monotonic() - began < 2.9  # one after the other they would take three seconds
        assert len(ids_in([m for m in done["messages"] if isinstance(m, ToolMessage)])) == 3
        assert len(posts(service)) == 3


def test_a_model_that_counts_from_call_0_in_every_turn_gets_a_new_picture_in_every_turn(
    tool: WanImageTool, sandbox: Sandbox
) -> None:
    model = ScriptedChatModel(
        script=[calls({"prompt": "a fox"}), AIMessage("One."), calls({"prompt": "a fox"}), AIMessage("Two.")]
    )
    agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    for said in ("a fox", "another one"):
        done = agent.invoke({"messages": [HumanMessage(said)]}, config)
    assert len(set(ids_in([m for m in done["messages"] if isinstance(m, ToolMessage)]))) == 2
    assert len(posts(sandbox)) == 2


def test_threads_do_not_know_each_others_images(tool: WanImageTool, sandbox: Sandbox) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("One.")])
    agent = create_agent(model, tools=[tool], checkpointer=InMemorySaver())
    first = agent.invoke({"messages": [HumanMessage("a fox")]}, {"configurable": {"thread_id": "anna"}})
    stolen = ids_in(first["messages"])[0]
    model.script = [calls({"prompt": "give me that", "images": [stolen]}), AIMessage("No.")]
    other = agent.invoke({"messages": [HumanMessage("steal")]}, {"configurable": {"thread_id": "ben"}})
    refused = next(m for m in other["messages"] if isinstance(m, ToolMessage))
    assert refused.status == "error"
    assert stolen not in str(refused.content)
    assert len(posts(sandbox)) == 1


def test_a_scope_can_be_the_whole_store_or_named_by_the_runtime(sandbox: Sandbox) -> None:
    store = WanStore()
    image = store.add(WanImageTool(**access(sandbox)).generator.invoke("a fox").images[0].read(), scope="team")
    edit = tool_call(prompt="make it night", images=[image.id])
    assert WanImageTool(**access(sandbox, store=store)).invoke(edit).status == "error"
    assert WanImageTool(**access(sandbox, store=store), scope="store").invoke(edit).status == "success"
    by_user = WanImageTool(**access(sandbox, store=store), scope=lambda runtime: "team")
    state = {"messages": [HumanMessage("x"), calls({"prompt": "make it night", "images": [image.id]})]}
    assert graph_of(by_user).invoke(state)["messages"][-1].status == "success"
    with pytest.raises(WanConfigurationError, match="runtime"):
        by_user.invoke(edit)
    for wrong in (lambda runtime: "", lambda runtime: runtime.nothing):
        with pytest.raises(WanConfigurationError, match="scope function"):
            graph_of(WanImageTool(**access(sandbox), scope=wrong)).invoke(state)


def test_a_budget_function_sees_the_runtime(sandbox: Sandbox) -> None:
    budgets = {"anna": Budget(max_images=1), "ben": Budget(max_images=0)}
    tool = WanImageTool(**access(sandbox, budget=lambda runtime: budgets[runtime.config["configurable"]["user"]]))
    graph = graph_of(tool)
    state = {"messages": [HumanMessage("x"), calls({"prompt": "a fox"})]}
    assert graph.invoke(state, {"configurable": {"user": "anna"}})["messages"][-1].status == "success"
    refused = graph.invoke(state, {"configurable": {"user": "ben"}})["messages"][-1]
    assert "budget" in refused.content
    assert refused.artifact["error"]["type"] == "BudgetExceededError"
    assert len(posts(sandbox)) == 1


async def test_progress_reaches_whoever_streams_the_agents_events(tool: WanImageTool) -> None:
    model = ScriptedChatModel(script=[calls({"prompt": "a fox"}), AIMessage("One.")])
    agent = create_agent(model, tools=[tool])
    events: Any = agent.astream_events({"messages": [HumanMessage("a fox")]}, version="v2")
    stages = [event["data"]["stage"] async for event in events if event["event"] == "on_custom_event"]
    assert stages == ["queued", "submitted", "answered", "stored", "done"]
