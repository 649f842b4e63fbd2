"""Functions of the caller, which may be async, called by code that blocks a thread."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

# The event loop whose code waits for the thread that is running now; None where no loop does.
waiting_loop: contextvars.ContextVar[asyncio.AbstractEventLoop | None] = contextvars.ContextVar(
    "langchain_wan_waiting_loop", default=None
)
# Whether a caller's function runs, for which a thread waits: it must not need that thread.
inside_callback: contextvars.ContextVar[bool] = contextvars.ContextVar("langchain_wan_inside_callback", default=False)


def complete(value: Any) -> Any:
    """Return what a caller's function returned; of an async one, what comes of it.

    It runs on the event loop of the caller where there is one, since what it uses may belong to that loop.
    """
    if not inspect.isawaitable(value):
        return value
    loop = waiting_loop.get()
    if loop is not None and loop.is_running() and not _is_on_a_loop():
        return asyncio.run_coroutine_threadsafe(_wait(value), loop).result()
    return _run_in_thread(value)


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_in_thread(value: Awaitable[Any]) -> Any:
    # This thread may have a loop of its own that must not be entered twice.
    outcomes: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcomes.append(asyncio.run(_wait(value)))
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="langchain-wan-callback")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcomes[0]


async def _wait(value: Awaitable[Any]) -> Any:
    inside_callback.set(True)
    return await value
