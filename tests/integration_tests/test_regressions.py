"""Holes that a review found, each closed and kept closed."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_wan import Budget, ImageRequest, ImageResult, WanImageTool, WanStore, errors
from tests.support.conversations import ids_in
from tests.support.fault_server import KEY, FaultServer, answer, drop, raw, reply, silence
from tests.support.images import data_uri, png
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access, build_client

Generate = Callable[..., ImageResult]
REQUEST = ImageRequest(prompt="a fox", operation_id="mine")


def test_two_stores_on_one_folder_in_one_process_know_that_a_call_runs(tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()), after=0.5)) as server:
        first, second = (build_client(server, store=WanStore(tmp_path)) for _ in range(2))
        thread = threading.Thread(target=first.generate, args=(REQUEST,))
        thread.start()
        while not server.posts:
            time.sleep(0.01)
        assert second.store.unfinished() == []
        with pytest.raises(ValueError, match="No unresolved"):
            second.store.resolve("mine", "not_charged")
        assert second.generate(REQUEST).replayed
        thread.join()
        assert len(server.posts) == 1


def test_an_equal_request_after_an_interrupted_download_fetches_and_pays_nothing(tmp_path: Path) -> None:
    with FaultServer(files={"/a.png": [silence(), reply(200, png())]}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        client = build_client(server, store=WanStore(tmp_path))

        async def broken_off() -> None:
            task = asyncio.create_task(client.agenerate("a fox"))
            while len(server.requests) < 2:  # noqa: ASYNC110  the server lives in other threads
                await asyncio.sleep(0.01)
            task.cancel()

        asyncio.run(broken_off())
        assert [entry.state for entry in client.store.unfinished()] == ["partial"]
        assert client.generate("a fox").images[0].read() == png()
        assert len(server.posts) == 1


def test_a_repeat_of_an_uncertain_call_says_so_even_where_the_budget_is_full(generate: Generate) -> None:
    with FaultServer(drop) as server:
        client = build_client(server, store=WanStore(), budget=Budget(max_usd="0.03"))
        for _ in range(2):
            with pytest.raises(errors.PaymentUncertainError):
                generate(client, "a fox")
        with pytest.raises(errors.BudgetExceededError):
            generate(client, "a wolf")
        assert len(server.posts) == 1


def test_twins_wait_even_where_the_budget_is_full() -> None:
    budget = Budget(max_images=1)
    with FaultServer(reply(200, answer(data_uri()), after=0.2)) as server:
        client = build_client(server, store=WanStore(), budget=budget)

        async def twins() -> list[ImageResult]:
            return list(await asyncio.gather(*(client.agenerate(REQUEST) for _ in range(4))))

        assert sorted(result.replayed for result in asyncio.run(twins())) == [False, True, True, True]
    assert budget.spent_usd == Decimal("0.030")


async def test_a_call_cancelled_while_it_is_written_down_releases_its_hold(tmp_path: Path) -> None:
    budget = Budget(max_usd=1, name="team")
    store = WanStore(tmp_path)
    store.history()
    other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    with FaultServer() as server:
        client = build_client(server, store=store, budget=budget)
        task = asyncio.create_task(client.agenerate(REQUEST))
        await asyncio.sleep(0)
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        other.execute("COMMIT")
        other.close()
        async with asyncio.timeout(10):
            while [entry.state for entry in await store.ahistory()] != ["refused"]:  # noqa: ASYNC110  in a file
                await asyncio.sleep(0.05)
        assert budget.held_usd == 0
        assert server.posts == []


def test_a_resume_leaves_a_running_download_alone(tmp_path: Path) -> None:
    with FaultServer(files={"/a.png": [reply(200, png(), after=0.6), reply(500)]}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        client = build_client(server, store=WanStore(tmp_path))
        results: list[ImageResult] = []
        thread = threading.Thread(target=lambda: results.append(client.generate(REQUEST)))
        thread.start()
        while len(server.requests) < 2:
            time.sleep(0.01)
        assert client.resume() == []
        assert client.generate(REQUEST).images[0].read() == png()
        thread.join()
        assert len(results[0].images) == 1
        assert [request.method for request in server.requests] == ["POST", "GET"]
        assert [entry.state for entry in client.store.history()] == ["done"]


def test_an_image_that_could_not_be_stored_is_resumed_later(tmp_path: Path, generate: Generate) -> None:
    (tmp_path / "blobs").write_text("in the way")
    with FaultServer() as server:
        client = build_client(server, store=WanStore(tmp_path))
        with pytest.warns(RuntimeWarning, match="memory only"):
            assert generate(client, REQUEST).images[0].read() == png()
        assert [entry.state for entry in client.store.unfinished()] == ["partial"]
        (tmp_path / "blobs").unlink()
        (resumed,) = client.resume()
        assert resumed.images[0].read() == png()
        image = WanStore(tmp_path).get(resumed.images[0].id)
        assert image is not None
        assert image.read() == png()
        assert len(server.posts) == 1


def test_what_is_changed_in_a_copy_is_validated_and_never_stands_over_n(generate: Generate) -> None:
    with FaultServer() as server:
        client = build_client(server, store=WanStore(), budget=Budget(max_usd=1))
        with pytest.raises(errors.InvalidImageRequestError):
            generate(client, REQUEST.model_copy(update={"n": 40}))
        sneaky = ImageRequest(prompt="a wolf", extra_body={"style": "x"})
        sneaky.extra_body["n"] = 4
        with pytest.raises(errors.InvalidImageRequestError):
            generate(client, sneaky)
        assert server.posts == []


def test_resolving_a_paid_call_keeps_what_was_counted(tmp_path: Path) -> None:
    budget = Budget(max_images=4, name="team")
    with FaultServer(files={"/a.png": reply(404)}) as server:
        server._script = [reply(200, answer(*[f"{server.origin}/a.png"] * 3))]
        client = build_client(server, store=WanStore(tmp_path), budget=budget)
        with pytest.raises(errors.PaidButNotRetrievedError):
            client.generate(REQUEST)
        client.store.resolve("mine", "charged")
        assert budget.spent_usd == Decimal("0.090")
        with pytest.raises(errors.BudgetExceededError):
            client.generate(ImageRequest(prompt="two", n=2))
        assert len(list((tmp_path / "raw").iterdir())) == 1  # an answer with images is never deleted


def test_without_a_thread_one_conversation_does_not_know_the_images_of_another() -> None:
    with FaultServer() as server:
        tool = WanImageTool(**access(server, store=WanStore()))
        model = ScriptedChatModel(
            script=[
                calls({"prompt": "a fox"}),
                lambda seen: calls({"prompt": "make it night", "images": ids_in(seen)}),
                AIMessage("Done."),
            ]
        )
        agent = create_agent(model, tools=[tool])
        alice = agent.invoke({"messages": [HumanMessage("a fox at night")]})
        made, night = (m for m in alice["messages"] if isinstance(m, ToolMessage))
        assert night.status == "success"
        stolen = ids_in([made])[0]
        model.script = [calls({"prompt": "give me", "images": [stolen]}), AIMessage("No.")]
        bob = agent.invoke({"messages": [HumanMessage("steal")]})
        refused = next(m for m in bob["messages"] if isinstance(m, ToolMessage))
        assert refused.status == "error"
        assert stolen not in str(refused.content)
        assert len(server.posts) == 2


def test_a_view_given_as_the_store_is_the_scope(generate: Generate) -> None:
    store = WanStore()
    with FaultServer() as server:
        hers = store.scoped("anna")
        result = generate(build_client(server, store=hers), "a fox")
        assert hers.get(result.images[0].id) == result.images[0]
        assert store.scoped("ben").get(result.images[0].id) is None
        assert len(hers.history()) == 1
        assert store.scoped("ben").history() == []


def test_a_broken_answer_that_quotes_the_key_is_kept_without_it(tmp_path: Path, generate: Generate) -> None:
    cut = f"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nyour key is {KEY}"
    with FaultServer(raw(cut.encode())) as server, pytest.raises(errors.UnreadableAnswerError):
        generate(build_client(server, store=WanStore(tmp_path)), "a fox")
    kept = b"".join(file.read_bytes() for file in (tmp_path / "raw").iterdir())
    assert kept == b"your key is [key]"


def test_pruning_spares_what_somebody_else_stored_later(monkeypatch: pytest.MonkeyPatch) -> None:
    store = WanStore()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 86400 * 31)
    store.add(png(), scope="anna")
    old = store.add(png("blue"), scope="anna")
    monkeypatch.setattr(time, "time", lambda: now)
    fresh = store.add(png(), scope="ben")
    assert store.prune(timedelta(days=30)) == 1
    assert store.get(old.id) is None
    assert fresh.read() == png()


def test_urls_that_differ_in_their_query_alone_are_told_apart(generate: Generate) -> None:
    files = {"/img": [reply(200, png("red")), reply(200, png("blue"))]}
    with FaultServer(files=files) as server:
        urls = [f"{server.origin}/img?id={name}" for name in "AB"]
        server._script = [reply(200, answer(url)) for url in urls]
        client = build_client(server, store=WanStore())
        first = generate(client, "a fox").images[0]
        second = generate(client, "a wolf").images[0]
        assert client.store._storage.find_by_url(urls[0]) == first
        assert client.store._storage.find_by_url(urls[1]) == second
        assert client.store._storage.find_by_url(f"{server.origin}/img") is None


def test_a_return_to_model_that_fails_loses_nothing() -> None:
    def fail(result: ImageResult) -> str:
        raise KeyError("no template")

    with FaultServer() as server:
        tool = WanImageTool(**access(server, store=WanStore(), return_to_model=fail))
        message = tool.invoke({"type": "tool_call", "id": "c", "name": "wan_image", "args": {"prompt": "a fox"}})
    assert message.status == "success"
    assert message.artifact["images"]


def test_a_pickled_or_copied_tool_keeps_the_schema_of_its_settings() -> None:
    tool = WanImageTool(models=("wan2.7-image",), max_n=1, max_references=0, expose=("seed",), store=WanStore.default())
    assert list(pickle.loads(pickle.dumps(tool)).args_schema.model_fields) == ["prompt", "seed"]  # noqa: S301  our own


def test_arguments_that_do_not_fit_have_an_error_artifact_too() -> None:
    tool = WanImageTool()
    message = tool.invoke({"type": "tool_call", "id": "c", "name": "wan_image", "args": {"prompt": "x", "n": 9}})
    assert message.artifact["error"]["type"] == "InvalidImageRequestError"
    assert message.artifact["error"]["charged"] == "no"


def test_all_attempts_of_a_download_share_its_deadline(generate: Generate) -> None:
    with FaultServer(files={"/a.png": silence()}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        with pytest.raises(errors.PaidButNotRetrievedError):
            generate(build_client(server, store=WanStore(), download_timeout=0.5), "a fox")
        assert [request.method for request in server.requests] == ["POST", "GET"]
