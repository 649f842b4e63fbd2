"""Calls that are broken off: the caller is free at once, and what was sent is saved or listed as uncertain."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from langchain_wan import Budget, ImageRequest, WanClient, WanStore, errors
from tests.support.fault_server import KEY, FaultServer, answer, reply, silence
from tests.support.images import data_uri, png
from tests.support.processes import Program, run_program
from tests.support.services import build_client

PRICE = Decimal("0.030")
REQUEST = ImageRequest(prompt="a fox", operation_id="mine")


async def arrived(server: FaultServer, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(server.requests) < count:  # noqa: ASYNC110  the server lives in other threads
            await asyncio.sleep(0.01)


async def by_cancel(call: Awaitable[Any], server: FaultServer) -> None:
    task = asyncio.ensure_future(call)
    await arrived(server)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_wait_for(call: Awaitable[Any], server: FaultServer) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call, 0.3)


async def by_a_failing_sibling(call: Awaitable[Any], server: FaultServer) -> None:
    async def fail() -> None:
        await arrived(server)
        raise OSError("sibling")

    async def wait() -> None:
        await call

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await both()


async def by_an_anyio_scope(call: Awaitable[Any], server: FaultServer) -> None:
    with anyio.move_on_after(0.3) as scope:
        await call
    assert scope.cancelled_caught


@pytest.mark.parametrize("breaking_off", [by_cancel, by_wait_for, by_a_failing_sibling, by_an_anyio_scope])
async def test_44_a_call_that_was_sent_is_saved_in_the_background_and_found_by_a_replay(
    breaking_off: Callable[[Awaitable[Any], FaultServer], Awaitable[None]], tmp_path: Path
) -> None:
    budget = Budget(max_usd=1)
    answered = threading.Event()
    with FaultServer(reply(200, answer(data_uri()), when=answered)) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=budget)
        await breaking_off(client.agenerate(REQUEST), server)
        assert budget.held_usd == PRICE  # the caller did not wait for the answer
        answered.set()
        result = await client.agenerate(REQUEST)
        assert result.replayed
        assert result.images[0].read() == png()
        assert len(server.posts) == 1
    assert (budget.spent_usd, budget.held_usd) == (PRICE, Decimal(0))


async def test_43_a_call_cancelled_before_it_is_sent_releases_everything(tmp_path: Path) -> None:
    budget = Budget(max_usd=1)
    store = WanStore(tmp_path)
    with FaultServer(silence()) as server:
        settings: dict[str, Any] = {"base_url": server.url, "api_key": KEY, "store": store, "max_concurrency": 1}
        first = asyncio.create_task(WanClient(**settings, timeout=2).agenerate("first"))
        await arrived(server)
        second = asyncio.create_task(WanClient(**settings, budget=budget).agenerate(REQUEST))
        async with asyncio.timeout(10):
            while budget.held_usd == 0:  # noqa: ASYNC110  held in another thread
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        async with asyncio.timeout(10):
            while budget.held_usd > 0:  # noqa: ASYNC110  released in another thread
                await asyncio.sleep(0.01)
        with pytest.raises(errors.PaymentUncertainError):
            await first
        assert len(server.posts) == 1
    assert [entry.state for entry in store.history() if entry.operation_id == "mine"] == ["refused"]


async def test_45_a_call_cancelled_during_its_download_is_finished(tmp_path: Path) -> None:
    with FaultServer(files={"/a.png": reply(200, png(), after=0.5)}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        client = build_client(server, store=WanStore(tmp_path))
        task = asyncio.create_task(client.agenerate(REQUEST))
        await arrived(server, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.agenerate(REQUEST)).images[0].read() == png()
        assert len(server.posts) == 1


def test_46_a_loop_that_ends_leaves_the_call_uncertain(tmp_path: Path) -> None:
    budget = Budget(max_usd=1)
    with FaultServer(reply(200, answer(data_uri()), after=1)) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=budget)

        async def give_up() -> None:
            task = asyncio.create_task(client.agenerate(REQUEST))
            await arrived(server)
            task.cancel()

        asyncio.run(give_up())
        assert [entry.state for entry in client.store.unfinished()] == ["uncertain"]
        with pytest.raises(errors.PaymentUncertainError) as caught:
            client.generate(REQUEST)
        assert caught.value.stage == "interrupted"
        assert len(server.posts) == 1
    assert budget.held_usd == PRICE


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
def test_46_a_loop_that_is_closed_under_a_call_leaves_it_uncertain(tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()), after=1)) as server:
        client = build_client(server, store=WanStore(tmp_path))
        loop = asyncio.new_event_loop()
        task = loop.create_task(client.agenerate(REQUEST))
        loop.run_until_complete(arrived(server))
        loop.close()
        del task
        gc.collect()
        with pytest.raises(errors.PaymentUncertainError):
            client.generate(REQUEST)
        assert len(server.posts) == 1


INTERRUPTED = """
import sys
from langchain_wan import ImageRequest, WanStore, WanClient
client = WanClient(base_url=sys.argv[1], api_key=sys.argv[2], store=WanStore(sys.argv[3]))
client.generate(ImageRequest(prompt="a fox", operation_id="mine"))
"""


# A job of a shell that runs in the background ignores Ctrl-C, and so would its children.
HEARS_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def test_46_ctrl_c_leaves_the_call_uncertain(tmp_path: Path) -> None:
    with FaultServer(silence()) as server:
        with Program(HEARS_CTRL_C + INTERRUPTED, server.url, KEY, tmp_path) as program:
            asyncio.run(arrived(server))
            program.send_signal(signal.SIGINT)
            assert program.wait().returncode != 0
        store = WanStore(tmp_path)
        assert [(entry.operation_id, entry.state) for entry in store.history()] == [("mine", "uncertain")]
        assert len(server.posts) == 1


def test_48_a_finished_operation_is_returned_without_a_request(tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        for replayed in (False, True):
            client = build_client(server, store=WanStore(tmp_path))
            assert client.generate(REQUEST).replayed is replayed
        assert len(server.requests) == 1


WRITER = """
import sys
from langchain_wan import WanStore
store = WanStore(sys.argv[1])
for number in range(50):
    image = store.add(open(sys.argv[2], "rb").read())
    assert store.get(image.id).read() == open(sys.argv[2], "rb").read()
"""


def test_57_processes_that_write_the_same_image_leave_one_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(size=(2000, 2000)))
    with ExitStack() as stack:
        writers = [Program(WRITER, tmp_path / "store", tmp_path / "a.png") for _ in range(4)]
        for writer in writers:
            stack.enter_context(writer)
        ends = [writer.wait() for writer in writers]
    assert [end.stderr for end in ends if end.returncode] == []
    assert len(list((tmp_path / "store" / "blobs").glob("*/*"))) == 1


FULL = """
import resource, signal, sys, warnings
from langchain_wan import ImageRequest, WanStore, WanClient
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
client = WanClient(base_url=sys.argv[1], api_key=sys.argv[2], store=WanStore(sys.argv[3]))
client.store.history()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        result = client.generate(ImageRequest(prompt="a fox"))
    except Exception as error:
        print(type(error).__name__, error.charged)
    else:
        print(len(result.images[0].read()), len(caught))
"""


@pytest.mark.parametrize(
    ("limit", "expected", "posts"), [("2", "StoreError no", 0), ("262144", None, 1)], ids=["before", "after"]
)
def test_55_a_disk_that_takes_no_more_refuses_before_paying_or_returns_the_bytes(
    limit: str, expected: str | None, posts: int, tmp_path: Path
) -> None:
    from PIL import Image

    noise = Image.effect_noise((800, 800), 90)
    noise.save(tmp_path / "noise.png")
    picture = (tmp_path / "noise.png").read_bytes()
    assert len(picture) > 262144
    with FaultServer(files={"/a.png": reply(200, picture)}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        done = run_program(FULL, server.url, KEY, tmp_path / "store", limit)
        assert len(server.posts) == posts
    assert done.stdout.strip() == (expected or f"{len(picture)} 1")
