"""Functions of the caller: sync or async, and never at the price of an image that was paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_wan import Budget, ImageResult, WanClient, WanImageTool, WanStore, errors
from langchain_wan.middleware import WanImageMiddleware
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import Talk, answers, attached, build_agent, ids_in
from tests.support.entrances import run, to_call, to_config
from tests.support.fault_server import FaultServer, reply, result_at
from tests.support.images import png
from tests.support.scripted_model import calls
from tests.support.services import Generate, access, build_client, posts


class TestAsyncFunctions:
    def test_of_a_tool(self, talk: Talk, sandbox: Sandbox) -> None:
        """Each runs on the event loop of the caller, where there is one."""
        loops: list[Any] = []
        budget = Budget(max_images=5)

        async def scope(runtime: Any) -> str:
            loops.append(asyncio.get_running_loop())
            await asyncio.sleep(0)
            return str(runtime.config["configurable"]["user"])

        async def find_budget(runtime: Any) -> Budget:
            loops.append(asyncio.get_running_loop())
            return budget

        async def describe(result: ImageResult) -> str:
            loops.append(asyncio.get_running_loop())
            assert await result.images[0].aread()
            return f"Made {result.images[0].id}."

        tool = WanImageTool(**access(sandbox, scope=scope, budget=find_budget, return_to_model=describe))
        agent = build_agent(tool, calls({"prompt": "a fox"}), AIMessage("Done."), middleware=[WanImageMiddleware()])
        (answer,) = answers(talk(agent, attached(png()), {"configurable": {"user": "anna"}}))
        (name,) = ids_in([answer])
        assert answer.content == f"Made {name}."
        assert tool.store.scoped("anna").get(name) is not None
        assert str(budget.spent_usd) == "0.030"
        assert len(loops) >= 3

    def test_on_image_may_read_what_it_is_called_with_for_many_images_at_once(
        self, generate: Generate, sandbox: Sandbox
    ) -> None:
        async def keep(image: Any) -> str:
            await asyncio.gather(*(image.aread() for _ in range(8)))
            return f"https://cdn.example.com/{image.id}.png"

        client = WanClient(**access(sandbox, store=WanStore(), on_image=keep))
        result = generate(client, {"prompt": "foxes", "n": 4})  # type: ignore[arg-type]  # a dict is a request too
        assert [image.url for image in result.images] == [
            f"https://cdn.example.com/{image.id}.png" for image in result.images
        ]

    def test_a_blocking_call_on_a_running_loop(self, sandbox: Sandbox) -> None:
        async def scope(runtime: Any) -> str:
            return "anna"

        async def main() -> Any:
            return WanImageTool(**access(sandbox, scope=scope)).invoke(to_call({"prompt": "a fox"}), to_config("1"))

        assert asyncio.run(main()).status == "success"


class TestWrongValues:
    @pytest.mark.parametrize("returned", [None, 5, {"type": "text"}, [], [5], ["text"], [{"text": "no type"}], b"x"])
    def test_of_return_to_model_cost_nothing(
        self, returned: Any, asynchronous: bool, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        tool = WanImageTool(**access(sandbox, return_to_model=lambda result: returned))
        answer = run(tool, to_call({"prompt": "a fox"}), None, asynchronous=asynchronous)
        assert answer.status == "success"
        assert answer.artifact["images"][0]["id"] in answer.content
        assert "return_to_model must return" in caplog.text

    def test_blocks_of_return_to_model_are_the_content(self, asynchronous: bool, sandbox: Sandbox) -> None:
        blocks = [{"type": "text", "text": "Here."}, {"type": "image", "url": "https://example.com/a.png"}]
        tool = WanImageTool(**access(sandbox, return_to_model=lambda result: blocks))
        answer = run(tool, to_call({"prompt": "a fox"}), None, asynchronous=asynchronous)
        assert answer.content == blocks

    @pytest.mark.parametrize("returned", [5, "no budget", {"max_usd": 1}])
    def test_of_budget_are_told_before_anything_is_sent(
        self, returned: Any, generate: Generate, sandbox: Sandbox
    ) -> None:
        client = WanClient(**access(sandbox, store=WanStore(), budget=lambda runtime: returned))
        with pytest.raises(errors.WanConfigurationError, match="must return a Budget or None"):
            generate(client, "a fox")
        assert posts(sandbox) == []

    def test_a_budget_function_may_return_no_budget(self, generate: Generate, sandbox: Sandbox) -> None:
        client = WanClient(**access(sandbox, store=WanStore(), budget=lambda runtime: None))
        assert generate(client, "a fox").images

    def test_of_on_image_are_a_warning(self, generate: Generate, sandbox: Sandbox) -> None:
        client = WanClient(**access(sandbox, store=WanStore(), on_image=lambda image: 5))
        with pytest.warns(RuntimeWarning, match="on_image must return a URL or None"):
            result = generate(client, "a fox")
        assert result.images[0].read()

    @pytest.mark.parametrize("returned", [None, "", 5])
    def test_of_scope_are_told_before_anything_is_sent(
        self, returned: Any, asynchronous: bool, sandbox: Sandbox
    ) -> None:
        async def scope(runtime: Any) -> Any:
            return returned

        tool = WanImageTool(**access(sandbox, scope=scope))
        with pytest.raises(errors.WanConfigurationError, match="must return a name"):
            run(tool, to_call({"prompt": "a fox"}), to_config("1"), asynchronous=asynchronous)
        assert posts(sandbox) == []


class _Odd:
    """An object that answers no question."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


async def _coroutine() -> int:
    return 5


async def _nested() -> Any:
    return _coroutine()


WRONG: dict[str, Callable[[], Any]] = {
    "number": lambda: 5,
    "truth": lambda: True,
    "bytes": lambda: b"x",
    "list": lambda: ["a"],
    "dict": lambda: {"a": 1},
    "object": object,
    "odd object": _Odd,
    "class": lambda: Budget,
    "exception": lambda: ValueError("x"),
    "generator": lambda: (number for number in range(2)),
    "coroutine": _coroutine,
    "coroutine in a coroutine": _nested,
    "raises": lambda: int("x"),
    "lone surrogate": lambda: "\ud800",
}


@pytest.mark.filterwarnings("ignore:on_image:RuntimeWarning", "ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("name", WRONG)
class TestEveryWrongValue:
    def test_of_on_image_costs_neither_the_image_nor_a_resume(self, name: str, generate: Generate) -> None:
        url = "/fox.png"
        with FaultServer(result_at(url), files={url: [reply(404), reply(200, png())]}) as server:
            client = build_client(server, store=WanStore(), on_image=lambda image: WRONG[name]())
            with pytest.raises(errors.PaidButNotRetrievedError):
                generate(client, "a fox")
            (resumed,) = client.resume()
            assert resumed.images[0].read() == png()
            assert len(server.posts) == 1
        assert [entry.state for entry in client.store.history()] == ["done"]

    def test_of_budget_is_told_before_anything_is_sent(self, name: str, generate: Generate) -> None:
        with FaultServer() as server:
            client = build_client(server, store=WanStore(), budget=lambda runtime: WRONG[name]())
            with pytest.raises(errors.WanConfigurationError, match="budget function"):
                generate(client, "a fox")
            assert server.posts == []

    def test_of_scope_is_told_before_anything_is_sent(self, name: str, asynchronous: bool) -> None:
        with FaultServer() as server:
            tool = WanImageTool(**access(server, store=WanStore(), scope=lambda runtime: WRONG[name]()))
            with pytest.raises(errors.WanConfigurationError, match="scope function"):
                run(tool, to_call({"prompt": "a fox"}), to_config("1"), asynchronous=asynchronous)
            assert server.posts == []

    def test_of_return_to_model_costs_nothing(self, name: str, asynchronous: bool) -> None:
        with FaultServer() as server:
            tool = WanImageTool(**access(server, store=WanStore(), return_to_model=lambda result: WRONG[name]()))
            answer = run(tool, to_call({"prompt": "a fox"}), to_config("1"), asynchronous=asynchronous)
            assert answer.status == "success"
            assert len(server.posts) == 1
