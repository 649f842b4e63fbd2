"""Threads: work is done once whatever becomes of them, and there are never more than a few."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from langchain_wan._concurrency.executor import in_thread, map_in_threads
from langchain_wan._net import resolver
from langchain_wan.errors import ImageReferenceError
from tests.support.thread_limit import forbid_threads


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_work_is_done_once_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    done: list[int] = []

    async def work() -> list[int]:
        async def append(number: int) -> int:
            await in_thread(done.append, number)
            return number

        return await asyncio.gather(*(append(number) for number in range(20)))

    forbid_threads(monkeypatch, allowed)
    assert asyncio.run(work()) == list(range(20))
    assert sorted(done) == list(range(20))


def test_what_work_raises_comes_back_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ImageReferenceError("no")

    forbid_threads(monkeypatch)
    with pytest.raises(ImageReferenceError):
        asyncio.run(in_thread(fails))


@pytest.mark.parametrize("threads", [1, 3, 50])
@pytest.mark.parametrize("allowed", [0, 1, 99])
def test_each_value_is_mapped_once_and_in_order(monkeypatch: pytest.MonkeyPatch, threads: int, allowed: int) -> None:
    forbid_threads(monkeypatch, allowed)
    begun: list[int] = []

    def double(number: int) -> int:
        begun.append(number)
        return 2 * number

    assert map_in_threads(double, range(12), threads=threads) == [2 * number for number in range(12)]
    assert sorted(begun) == list(range(12))
    assert map_in_threads(double, [], threads=threads) == []


def test_an_error_of_ours_ends_a_map_and_nothing_is_repeated() -> None:
    begun: list[int] = []

    def fails(number: int) -> None:
        begun.append(number)
        raise ImageReferenceError("no")

    with pytest.raises(ImageReferenceError):
        map_in_threads(fails, range(50), threads=4)
    assert len(begun) == len(set(begun)) <= 4


def test_a_map_passes_an_interrupt_on() -> None:
    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_in_threads(interrupt, range(3), threads=1)


def count_lookups() -> int:
    return sum(thread.name == "langchain-wan-resolve" for thread in threading.enumerate())


async def resolve(asynchronous: bool, host: str, timeout: float) -> list[object]:
    if asynchronous:
        return list(await resolver.aresolve(host, 443, timeout))
    return list(await asyncio.to_thread(resolver.resolve, host, 443, timeout))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_resolver_that_hangs_takes_a_few_threads_only(monkeypatch: pytest.MonkeyPatch, asynchronous: bool) -> None:
    going_on = threading.Event()
    asked: list[str] = []

    def hang(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        going_on.wait(30)
        return []

    async def look_up_often() -> list[Any]:
        lookups = (resolve(asynchronous, f"{number}.example", 0.2) for number in range(60))
        return await asyncio.gather(*lookups, return_exceptions=True)

    monkeypatch.setattr(resolver, "_threads", resolver._Threads())
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    outcomes = asyncio.run(look_up_often())
    assert {type(outcome).__name__ for outcome in outcomes} == {"ConnectTimeout"}
    assert count_lookups() <= resolver.MAX_THREADS
    going_on.set()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ["answer"])
    assert asyncio.run(resolve(asynchronous, "later.example", 5)) == ["answer"]
    assert len(asked) <= resolver.MAX_THREADS  # the others gave up before a thread was free for them


def test_a_lookup_that_no_thread_can_make_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpcore

    forbid_threads(monkeypatch)
    with pytest.raises(httpcore.ConnectError, match="thread"):
        resolver.resolve("name.example", 443, 5)
