"""A few threads for heavy or blocking work, so that the event loop stays free.

They are not the loop's default executor: LangChain fills that with tools that wait for minutes. These threads never
wait for a service. Images are read and written by threads of their own: a few that take seconds each must not keep
others from writing down what they paid.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from langchain_wan._concurrency.callbacks import inside_callback, waiting_loop
from langchain_wan._concurrency.forks import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A")

# By process id, since threads do not survive a fork; functions of the caller, which threads wait for, have their own.
_executors: dict[tuple[int, bool, str], ThreadPoolExecutor] = {}
_lock = threading.Lock()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in one of the threads and return its result."""
    return await _run_in("", functools.partial(function, *args, **kwargs))


async def in_image_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same with a function that decodes or encodes images."""
    return await _run_in("-images", functools.partial(function, *args, **kwargs))


async def _run_in(pool: str, function: Callable[[], T]) -> T:
    context = contextvars.copy_context()
    context.run(waiting_loop.set, asyncio.get_running_loop())
    task = _Task(functools.partial(context.run, function))
    try:
        _executor(pool).submit(task.run)
    except RuntimeError:  # no thread can be started, or the interpreter is ending
        task.run()
    future: asyncio.Future[T] = asyncio.wrap_future(task.outcome)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # The thread cannot be stopped: wait until its effects are known.
        await asyncio.wait([future])
        raise


class _Task(Generic[T]):
    """A call that happens once: an executor that could not start a thread for it has it in its queue nevertheless."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.outcome: Future[T] = Future()
        self._call = call
        self._begun = threading.Lock()

    def run(self) -> None:
        """Make the call, unless that has begun already."""
        if not self._begun.acquire(blocking=False):
            return
        self.outcome.set_running_or_notify_cancel()
        try:
            returned = self._call()
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(returned)


def map_in_threads(function: Callable[[A], T], values: Iterable[A], *, threads: int) -> list[T]:
    """Call a function with each value, in this thread and others; in fewer where no more can be started.

    Raises:
        Exception: The first that the function raised; the values that are left are not begun.
    """
    waiting = deque(enumerate(values))
    outcomes: list[Any] = [None] * len(waiting)
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                index, value = waiting.popleft()
            except IndexError:
                return
            try:
                outcomes[index] = function(value)
            except BaseException as error:  # noqa: BLE001  raised again by the thread that waits
                errors.append(error)

    helpers = []
    for _ in range(min(len(waiting), threads) - 1):
        helper = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="langchain-wan-map")
        try:
            helper.start()
        except RuntimeError:
            break
        helpers.append(helper)
    work()
    if errors and not isinstance(errors[0], Exception):  # Ctrl-C: nobody waits for the others
        raise errors[0]
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return outcomes


def _executor(pool: str) -> ThreadPoolExecutor:
    with _lock:
        key = os.getpid(), inside_callback.get(), pool
        if key not in _executors:
            _executors[key] = ThreadPoolExecutor(THREADS, thread_name_prefix=f"langchain-wan{pool}")
        return _executors[key]


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603  a lock that another thread had taken at the fork stays locked
    _lock = threading.Lock()


after_fork_in_child(_renew_lock)
