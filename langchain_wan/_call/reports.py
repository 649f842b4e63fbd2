"""What a watcher is told of a call: each stage, and between two of them that the call still waits."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from langchain_wan._text.logs import logger
from langchain_wan.models import WanEvent

# Seconds between two events; less than the five that are promised, since a busy machine wakes threads late.
INTERVAL = 4.0

Watcher = Callable[[WanEvent], object]


@dataclass(frozen=True)
class Watch:
    """Who watches a call, and how a heartbeat of it is built."""

    on_event: Watcher
    build_heartbeat: Callable[[], WanEvent]


class _Pulse:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._last = time.monotonic()

    def _wait_time(self) -> float:
        """Return the seconds until a heartbeat is due."""
        return max(0.0, self._last + INTERVAL - time.monotonic())


class Reporter(_Pulse):
    """Tells the watcher of a blocking call; its heartbeats come from another thread, in the context of the caller.

    The call's own thread is inside of the HTTP request meanwhile. It does not tell them itself, since a watcher that is
    slow would then keep it from reading the answer, which is paid for.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._lock = threading.Lock()  # one event at a time, in order
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(self._beat,), name="langchain-wan-heartbeat", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # there can be no more threads; the call does not need this one
            logger.warning("there are no heartbeats: no thread could be started")
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()  # a watcher that hangs is not waited for

    def report(self, event: WanEvent) -> None:
        """Tell a stage."""
        with self._lock:
            self._tell(event)

    def _beat(self) -> None:
        is_heard = True
        while is_heard and not self._ended.wait(self._wait_time()):
            with self._lock:
                if not self._ended.is_set() and not self._wait_time():
                    is_heard = self._tell(self._watch.build_heartbeat())

    def _tell(self, event: WanEvent) -> bool:
        try:
            self._watch.on_event(event)
        except Exception:
            logger.warning("on_event failed at stage %s", event["stage"], exc_info=True)
            return False
        finally:
            self._last = time.monotonic()
        return True


class AsyncReporter(_Pulse):
    """Tells the watcher of an async call, who may be async; its heartbeats come from another task."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat(), name="langchain-wan-heartbeat")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()  # a watcher that hangs is not waited for

    async def report(self, event: WanEvent) -> None:
        """Tell a stage."""
        async with self._lock:
            await self._tell(event)

    async def _beat(self) -> None:
        is_heard = True
        while is_heard:
            await asyncio.sleep(self._wait_time())
            async with self._lock:
                if not self._wait_time():
                    is_heard = await self._tell(self._watch.build_heartbeat())

    async def _tell(self, event: WanEvent) -> bool:
        try:
            returned = self._watch.on_event(event)
            if isinstance(returned, Awaitable):
                await returned
        except Exception:
            logger.warning("on_event failed at stage %s", event["stage"], exc_info=True)
            return False
        finally:
            self._last = time.monotonic()
        return True
