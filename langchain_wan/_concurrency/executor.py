"""A few threads for heavy or blocking work, so that the event loop stays free.

They are not the loop's default executor: LangChain fills that with tools that wait for minutes. These threads never
wait for a service.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from langchain_wan._concurrency.callbacks import inside_callback, waiting_loop
from langchain_wan._concurrency.forks import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable


THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")

# By process id, since threads do not survive a fork; functions of the caller, which threads wait for, have their own.
_executors: dict[tuple[int, bool], ThreadPoolExecutor] = {}
_lock = threading.Lock()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in one of the threads and return its result."""
    context = contextvars.copy_context()
    context.run(waiting_loop.set, asyncio.get_running_loop())
    call = functools.partial(context.run, function, *args, **kwargs)
    try:
        future = asyncio.wrap_future(_executor().submit(call))
    except RuntimeError:  # the interpreter is shutting down: threads accept no more work
        return call()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        # The thread cannot be stopped: wait until its effects are known.
        await asyncio.wait([future])
        raise


def _executor() -> ThreadPoolExecutor:
    with _lock:
        key = os.getpid(), inside_callback.get()
        if key not in _executors:
            _executors[key] = ThreadPoolExecutor(THREADS, thread_name_prefix="langchain-wan")
        return _executors[key]


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603  a lock that another thread had taken at the fork stays locked
    _lock = threading.Lock()


after_fork_in_child(_renew_lock)
