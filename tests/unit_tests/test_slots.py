"""Permits that limit the paid calls in flight, and the threads that do heavy work beside the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from langchain_wan._concurrency.executor import THREADS, in_thread
from langchain_wan._concurrency.slots import Slots, find_slots

SOON = 5.0  # seconds; only a failing test waits that long


def free(slots: Slots) -> int:
    """How many permits are free: takes them all, and releases them again."""

    async def count() -> int:
        taken = 0
        while True:
            try:
                await asyncio.wait_for(slots.aacquire(), 0.02)
            except TimeoutError:
                break
            taken += 1
        for _ in range(taken):
            slots.release()
        return taken

    return asyncio.run(count())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110  a thread makes it true
            await asyncio.sleep(0.001)


@contextmanager
def running(target: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(SOON)
        assert not thread.is_alive()


def wait_for_line(slots: Slots, length: int) -> None:
    """Wait until so many wait for a permit; nothing else shows that a thread has begun to wait."""
    ends = time.monotonic() + SOON
    while len(slots._waiting) < length:
        assert time.monotonic() < ends
        time.sleep(0.001)


# Permits


@pytest.mark.parametrize("permits", [1, 2, 5])
def test_each_permit_is_granted_at_once(permits: int) -> None:
    slots = Slots(permits)
    for _ in range(permits):
        slots.acquire()
    assert free(slots) == 0
    for _ in range(permits):
        slots.release()
    assert free(slots) == permits


async def test_tasks_get_permits_in_the_order_of_waiting() -> None:
    slots, served = Slots(1), []
    await slots.aacquire()

    async def call(number: int) -> None:
        await slots.aacquire()
        served.append(number)
        slots.release()

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(call(number))
            await asyncio.sleep(0)
        slots.release()
    assert served == list(range(20))


def test_threads_get_permits_in_the_order_of_waiting() -> None:
    slots, served = Slots(1), []
    slots.acquire()

    def call(number: int) -> None:
        slots.acquire()
        served.append(number)
        slots.release()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for length, thread in enumerate(threads, 1):
        thread.start()
        wait_for_line(slots, length)
    slots.release()
    for thread in threads:
        thread.join(SOON)
    assert served == list(range(8))


async def test_threads_and_tasks_wait_in_one_queue() -> None:
    slots, served = Slots(1), []
    await slots.aacquire()

    async def task(name: str) -> None:
        await slots.aacquire()
        served.append(name)
        slots.release()

    def thread(name: str) -> None:
        slots.acquire()
        served.append(name)
        slots.release()

    first = asyncio.create_task(task("task 1"))
    await until(lambda: len(slots._waiting) == 1)
    second = asyncio.create_task(asyncio.to_thread(thread, "thread 1"))
    await until(lambda: len(slots._waiting) == 2)
    third = asyncio.create_task(task("task 2"))
    await until(lambda: len(slots._waiting) == 3)
    slots.release()
    await asyncio.wait_for(asyncio.gather(first, second, third), SOON)
    assert served == ["task 1", "thread 1", "task 2"]


async def test_the_event_loop_goes_on_while_a_task_waits() -> None:
    slots = Slots(1)
    slots.acquire()
    waiting = asyncio.create_task(slots.aacquire())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    slots.release()
    await asyncio.wait_for(waiting, SOON)


# Interrupted waits


async def test_a_task_that_is_cancelled_while_it_waits_takes_no_permit() -> None:
    slots = Slots(1)
    await slots.aacquire()
    waiting = [asyncio.create_task(slots.aacquire()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*waiting, return_exceptions=True)
    )
    slots.release()
    await asyncio.wait_for(slots.aacquire(), SOON)


async def test_a_task_that_is_cancelled_just_as_it_gets_a_permit_releases_it() -> None:
    slots = Slots(1)
    await slots.aacquire()
    waiting = asyncio.create_task(slots.aacquire())
    await asyncio.sleep(0)
    slots.release()  # the permit is granted, and the task has not run since
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(slots.aacquire(), SOON)


async def test_a_task_that_is_cancelled_before_its_first_step_takes_no_permit() -> None:
    slots = Slots(1)
    waiting = asyncio.create_task(slots.aacquire())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(slots.aacquire(), SOON)


async def test_a_task_that_gives_up_does_not_delay_the_others() -> None:
    slots, served = Slots(1), []
    await slots.aacquire()

    async def call(number: int) -> None:
        await slots.aacquire()
        served.append(number)
        slots.release()

    tasks = [asyncio.create_task(call(number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.sleep(0)
    slots.release()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), SOON)
    assert served == [1, 3, 4]


class InterruptionError(Exception):
    """What a signal raises in the main thread, as Ctrl-C does."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that interrupt")
def test_a_thread_that_is_interrupted_while_it_waits_takes_no_permit() -> None:
    def interrupt(number: int, frame: object) -> None:
        raise InterruptionError

    slots = Slots(1)
    slots.acquire()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptionError):
            slots.acquire()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    slots.release()
    assert free(slots) == 1


def test_a_loop_that_ends_while_a_task_waits_takes_no_permit() -> None:
    slots = Slots(1)
    slots.acquire()

    async def leave() -> None:
        task = asyncio.create_task(slots.aacquire())
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(leave())
    slots.release()
    assert free(slots) == 1


def test_a_loop_that_is_closed_while_a_task_waits_takes_no_permit() -> None:
    slots = Slots(1)
    slots.acquire()
    loop = asyncio.new_event_loop()
    coroutine = slots.aacquire()
    loop.call_soon(lambda: coroutine.send(None))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    coroutine.close()
    slots.release()
    assert free(slots) == 1


def test_no_permit_is_lost_or_granted_twice_when_threads_tasks_and_timeouts_mix() -> None:
    permits, inside, most, lock = 3, 0, 0, threading.Lock()
    slots = Slots(permits)

    def enter() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)

    def leave() -> None:
        nonlocal inside
        with lock:
            inside -= 1
        slots.release()

    def blocking() -> None:
        for _ in range(60):
            slots.acquire()
            enter()
            time.sleep(0)
            leave()

    async def once(seconds: float) -> None:
        async with asyncio.timeout(seconds):
            await slots.aacquire()
        enter()
        try:
            await asyncio.sleep(0)
        finally:
            leave()

    async def hurried() -> None:
        for round_ in range(12):
            calls: list[Awaitable[None]] = [once(0.0005 * (number % 4)) for number in range(10)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0.0002 * (round_ % 3))
            tasks[round_ % 10].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    targets: list[Callable[[], object]] = [blocking, blocking, blocking]
    targets += [lambda: asyncio.run(hurried()), lambda: asyncio.run(hurried())]
    with ThreadPoolExecutor(len(targets)) as pool:
        for future in [pool.submit(target) for target in targets]:
            future.result(20)
    assert 0 < most <= permits
    assert inside == 0
    assert free(slots) == permits


# One count for each service


def test_identical_keys_share_permits_and_others_do_not() -> None:
    slots = find_slots("https://a", "key", permits=2)
    assert find_slots("https://a", "key", permits=2) is slots
    assert find_slots("https://b", "key", permits=2) is not slots
    assert find_slots("https://a", "other", permits=2) is not slots


def test_permits_that_nobody_uses_are_forgotten() -> None:
    name = object()
    slots = find_slots(name, permits=1)
    slots.acquire()
    assert free(find_slots(name, permits=1)) == 0
    del slots
    gc.collect()
    assert free(find_slots(name, permits=1)) == 1


def test_threads_that_ask_at_the_same_time_share_permits() -> None:
    name, start = object(), threading.Barrier(16)

    def ask(_: int) -> Slots:
        start.wait()
        return find_slots(name, permits=1)

    with ThreadPoolExecutor(16) as pool:
        assert len({id(slots) for slots in pool.map(ask, range(16))}) == 1


# Threads for heavy work


async def test_a_function_runs_in_one_of_our_threads_and_its_result_is_returned() -> None:
    def work(first: int, *, second: int) -> tuple[int, str]:
        return first + second, threading.current_thread().name

    total, name = await in_thread(work, 1, second=2)
    assert total == 3
    assert name.startswith("langchain-wan")
    assert name != threading.current_thread().name


async def test_an_error_is_raised_unchanged() -> None:
    problem = KeyError("gone")

    def work() -> None:
        raise problem

    with pytest.raises(KeyError) as caught:
        await in_thread(work)
    assert caught.value is problem


async def test_a_function_sees_the_context_variables_of_its_caller() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    name.set("fox")

    def work() -> str:
        seen = name.get()
        name.set("changed")
        return seen

    assert await in_thread(work) == "fox"
    assert name.get() == "fox"


async def test_heavy_work_continues_while_waiting_tools_fill_the_default_threads() -> None:
    loop, stop = asyncio.get_running_loop(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        loop.set_default_executor(pool)
        blocked = [asyncio.create_task(asyncio.to_thread(stop.wait, SOON)) for _ in range(4)]
        await asyncio.sleep(0)
        try:
            assert await asyncio.wait_for(in_thread(lambda: "done"), 2) == "done"
        finally:
            stop.set()
            await asyncio.gather(*blocked)


async def test_at_most_as_many_threads_start_as_are_allowed() -> None:
    seen = set()

    def work() -> None:
        seen.add(threading.get_ident())
        time.sleep(0.002)

    await asyncio.gather(*(in_thread(work) for _ in range(THREADS * 5)))
    assert 1 <= len(seen) <= THREADS


def test_the_threads_serve_one_loop_after_another() -> None:
    assert [asyncio.run(in_thread(lambda: "done")) for _ in range(3)] == ["done"] * 3


def _child() -> None:  # pragma: no cover  runs in another process
    os._exit(0 if asyncio.run(asyncio.wait_for(in_thread(lambda: 7), SOON)) == 7 else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    asyncio.run(in_thread(lambda: None))
    child = multiprocessing.get_context("fork").Process(target=_child)
    child.start()
    child.join(SOON)
    with suppress(AttributeError):
        child.kill()
    child.join(SOON)
    assert child.exitcode == 0
