"""WanImageGenerator as a Runnable: every way in, every way of composing it."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableConfig, RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_wan import ImageRequest, ImageResult, WanImageGenerator, WanImageInput, WanImageTool, WanStore, errors
from langchain_wan.sandbox.app import Sandbox
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import data_uri
from tests.support.services import access, posts


@pytest.fixture
def images(sandbox: Sandbox) -> WanImageGenerator:
    return WanImageGenerator(**access(sandbox))


def _invoke(images: Any, *args: Any, **kwargs: Any) -> ImageResult:
    result: ImageResult = images.invoke(*args, **kwargs)
    return result


def _ainvoke(images: Any, *args: Any, **kwargs: Any) -> ImageResult:
    result: ImageResult = asyncio.run(images.ainvoke(*args, **kwargs))
    return result


@pytest.fixture(params=[_invoke, _ainvoke], ids=["blocking", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., ImageResult]:
    function: Callable[..., ImageResult] = request.param
    return function


@pytest.mark.parametrize(
    "value",
    [
        "a fox",
        {"prompt": "a fox"},
        ImageRequest(prompt="a fox"),
        WanImageInput(prompt="a fox"),
        AIMessage("a fox"),
        HumanMessage([{"type": "text", "text": "a fox"}]),
        [HumanMessage("a cat"), AIMessage("here"), HumanMessage("a fox"), AIMessage("well")],
        [("human", "a fox")],
        ChatPromptTemplate.from_messages([("human", "a {animal}")]).invoke({"animal": "fox"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_that_means_a_prompt_fits(
    value: Any, images: WanImageGenerator, sandbox: Sandbox, call: Callable[..., ImageResult]
) -> None:
    assert call(images, value).prompt == "a fox"
    assert posts(sandbox)[0].json["messages"][0]["content"] == [{"type": "text", "text": "a fox"}]


def test_a_system_message_is_put_before_the_prompt(images: WanImageGenerator) -> None:
    messages = [SystemMessage("Watercolour."), HumanMessage("a fox")]
    assert images.invoke(messages).prompt == "Watercolour.\n\na fox"


@pytest.mark.parametrize("value", [None, 7, [], {}, {"prompt": ""}, {"prompt": "x", "n": 9}, {"prompt": "x", "nn": 1}])
def test_what_means_no_request_is_refused_before_anything_is_sent(
    value: Any, images: WanImageGenerator, sandbox: Sandbox
) -> None:
    with pytest.raises(errors.InvalidImageRequestError):
        images.invoke(value)
    assert sandbox.requests == []


def test_images_of_a_message_are_the_references(images: WanImageGenerator, sandbox: Sandbox) -> None:
    first = images.invoke("a fox").images[0]
    message = HumanMessage([{"type": "text", "text": "make it night"}, first.content_block()])
    assert images.invoke([HumanMessage("ignored"), message]).parents == [first.id]
    shown = posts(sandbox)[1].json["messages"][0]["content"][0]["image_url"]["url"]
    assert base64.b64decode(shown.partition(",")[2]) == first.read()


def test_bound_arguments_are_merged_into_the_request(images: WanImageGenerator, sandbox: Sandbox) -> None:
    assert len(images.bind(n=2, seed=3).invoke("a fox").images) == 2
    assert posts(sandbox)[0].json["seed"] == 3
    assert images.invoke("a fox", model="wan2.7-image-pro").cost_usd == Decimal("0.075")


def test_a_chain_of_prompt_model_and_images(images: WanImageGenerator) -> None:
    prompt = ChatPromptTemplate.from_template("Describe a picture of {topic}.")
    chain = prompt | FakeListChatModel(responses=["a lighthouse in a storm"]) | images
    assert chain.invoke({"topic": "the sea"}).prompt == "a lighthouse in a storm"
    again = images | RunnableLambda(lambda result: result.edit("make it night")) | images
    assert again.invoke("a fox").prompt == "make it night"


def test_a_batch_keeps_its_order_and_its_bound(images: WanImageGenerator) -> None:
    inputs = [f"fox {number}" for number in range(4)]
    assert [result.prompt for result in images.batch(inputs)] == inputs
    assert [result.prompt for result in asyncio.run(images.abatch(inputs))] == inputs
    found: dict[int, Any] = dict(images.batch_as_completed(inputs))
    assert [found[place].prompt for place in range(4)] == inputs
    errors_too: list[Any] = images.batch(["a fox", ""], return_exceptions=True)
    assert isinstance(errors_too[1], errors.InvalidImageRequestError)

    async def completed() -> dict[int, Any]:
        return {place: result async for place, result in images.abatch_as_completed(inputs)}

    assert set(asyncio.run(completed())) == {0, 1, 2, 3}


def test_a_batch_pays_as_many_at_once_as_the_settings_say() -> None:
    lock, counts = threading.Lock(), [0, 0]

    def painting(connection: Any, request: Any) -> None:
        with lock:
            counts[0] += 1
            counts[1] = max(counts)
        time.sleep(0.2)
        with lock:
            counts[0] -= 1
        reply(200, answer(data_uri()))(connection, request)

    with FaultServer(painting) as server:
        for config, most in (({}, 2), ({"max_concurrency": 1}, 1)):
            counts[1] = 0
            images = WanImageGenerator(**access(server, max_concurrency=2))
            images.batch(["a", "b", "c", "d", "e", "f"], config)
            assert counts[1] == most


def test_streams_yield_the_result_once(images: WanImageGenerator) -> None:
    assert [len(result.images) for result in images.stream("a fox")] == [1]

    async def streamed() -> list[int]:
        return [len(result.images) async for result in images.astream("a fox")]

    assert asyncio.run(streamed()) == [1]


def test_the_standard_model_stands_in_for_pro_where_pro_is_refused() -> None:
    with Sandbox(faults=["model_not_found"]) as service:
        pro = WanImageGenerator(model="wan2.7-image-pro", **access(service))
        chain = pro.with_fallbacks([WanImageGenerator(**access(service))])
        assert chain.invoke("a fox").model == "wan2.7-image"
        assert [request.json["model"] for request in posts(service)] == ["wan2.7-image-pro", "wan2.7-image"]


def test_a_fallback_never_pays_a_second_time() -> None:
    with Sandbox(faults=["disconnect"]) as service:
        pro = WanImageGenerator(model="wan2.7-image-pro", **access(service))
        with pytest.raises(errors.PaymentUncertainError):
            pro.with_fallbacks([WanImageGenerator(**access(service))]).invoke("a fox")
        assert len(posts(service)) == 1


def test_with_retry_repeats_only_what_it_is_told_and_a_finished_call_is_not_paid_again() -> None:
    with Sandbox(faults=["quota_exceeded"]) as service:
        images = WanImageGenerator(**access(service))
        chain = images.with_retry(
            retry_if_exception_type=(errors.InsufficientCreditError,),
            stop_after_attempt=2,
            wait_exponential_jitter=False,
        )
        assert chain.invoke("a fox").images
        assert len(posts(service)) == 2


def test_fields_can_be_configured(images: WanImageGenerator, sandbox: Sandbox) -> None:
    chain = images.configurable_fields(model=ConfigurableField(id="model"))
    assert chain.invoke("a fox", {"configurable": {"model": "wan2.7-image-pro"}}).cost_usd == Decimal("0.075")
    assert chain.invoke("a fox").cost_usd == Decimal("0.030")


def test_it_draws_itself_and_describes_its_input_and_output(images: WanImageGenerator) -> None:
    assert "WanImageGenerator" in images.get_graph().draw_mermaid()
    assert "prompt" in json.dumps(images.get_input_jsonschema())
    assert "cost_usd" in images.get_output_jsonschema()["properties"]


def test_it_pickles_without_the_key(
    images: WanImageGenerator, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = pickle.loads(pickle.dumps(images))  # noqa: S301  our own
    with pytest.raises(ValueError, match="AISA_API_KEY"):
        back.invoke("a fox")
    monkeypatch.setenv("AISA_API_KEY", sandbox.api_key)
    assert back.invoke("a fox").images


def test_as_tool_gives_the_tool_with_the_same_settings(images: WanImageGenerator) -> None:
    tool = images.as_tool(name="draw", max_n=1)
    assert isinstance(tool, WanImageTool)
    assert (tool.name, tool.max_n, tool.store) == ("draw", 1, images.store)
    assert len(tool.models) == 2
    assert WanImageGenerator(model="wan2.7-image-pro").as_tool().models == ("wan2.7-image-pro",)  # type: ignore[attr-defined]  # a WanImageTool
    with pytest.raises(ValueError, match="schema"):
        images.as_tool(WanImageInput)


def test_traces_hold_digests_the_model_and_the_cost_but_no_bytes(
    images: WanImageGenerator, call: Callable[..., ImageResult]
) -> None:
    first = images.invoke("a fox").images[0]
    collector = RunCollectorCallbackHandler()
    config = RunnableConfig(callbacks=[collector], metadata={"mine": 1})
    call(images, {"prompt": "make it night", "images": [first.read()]}, config)
    run = collector.traced_runs[0]
    text = json.dumps([run.inputs, run.outputs], default=lambda value: value.model_dump(mode="json"))
    assert len(text) < 5000
    assert "sha256" in text
    assert first.base64[:200] not in text
    metadata = run.extra["metadata"]
    assert metadata["ls_provider"] == "aisa"
    assert metadata["ls_model_name"] == "wan2.7-image"
    assert metadata["usage_metadata"]["total_cost"] == 0.03
    assert metadata["mine"] == 1


def test_progress_comes_as_custom_events(images: WanImageGenerator) -> None:
    class Seen(AsyncCallbackHandler):
        stages: list[str] = []  # noqa: RUF012  one test

        async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
            assert name == "wan_image"
            self.stages.append(data["stage"])

    async def events() -> list[str]:
        found: Any = images.astream_events("a fox", version="v2")
        return [event["data"]["stage"] async for event in found if event["event"] == "on_custom_event"]

    stages = ["queued", "submitted", "answered", "stored", "done"]
    assert asyncio.run(events()) == stages
    seen = Seen()
    asyncio.run(images.ainvoke("a fox", {"callbacks": [seen]}))
    assert seen.stages == stages


def test_chained_calls_in_one_loop_overlap() -> None:
    async def several(images: WanImageGenerator) -> None:
        await asyncio.gather(*(images.ainvoke(f"fox {number}") for number in range(5)))

    with Sandbox(latency=1) as service:
        began = time.monotonic()
        asyncio.run(several(WanImageGenerator(**access(service, store=WanStore()))))
        assert time.monotonic() - began < 4  # one after the other they would take five seconds


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda images: images,
    "bind": lambda images: images.bind(seed=1),
    "with_config": lambda images: images.with_config(tags=["x"]),
    "with_retry": lambda images: images.with_retry(stop_after_attempt=2, wait_exponential_jitter=False),
    "with_listeners": lambda images: images.with_listeners(on_start=lambda run: None),
    "with_alisteners": lambda images: images.with_alisteners(),
    "with_types": lambda images: images.with_types(input_type=str),
    "configurable_fields": lambda images: images.configurable_fields(model=ConfigurableField(id="model")),
    "configurable_alternatives": lambda images: images.configurable_alternatives(
        ConfigurableField(id="which"), other=images
    ),
}


@pytest.mark.parametrize("outer", WRAPPERS)
@pytest.mark.parametrize("inner", WRAPPERS)
def test_fallbacks_of_whatever_a_generator_is_wrapped_in_do_not_pay_twice(inner: str, outer: str) -> None:
    with Sandbox(faults=["disconnect"]) as service:
        pro = WanImageGenerator(**access(service, model="wan2.7-image-pro"))
        wrapped = WRAPPERS[inner](pro)
        if outer != "configurable_fields":  # which looks for the setting in the outermost wrapper
            wrapped = WRAPPERS[outer](wrapped)
        safe = wrapped.with_fallbacks([WanImageGenerator(**access(service))])
        with pytest.raises(errors.PaymentUncertainError):
            safe.invoke("a fox")
        assert len(posts(service)) == 1
