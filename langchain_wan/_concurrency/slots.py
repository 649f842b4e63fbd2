"""How many paid calls may be in flight at once: one count for threads and event loops together."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from weakref import WeakValueDictionary

from langchain_wan._concurrency.forks import after_fork_in_child


class Slots:
    """A number of permits; whoever waits is served in order, whether a thread or a task of any loop."""

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Wait for a permit, blocking the thread."""
        permit = self._request()
        try:
            permit.result()
        except BaseException:
            self._abandon(permit)
            raise

    async def aacquire(self) -> None:
        """Wait for a permit without blocking the event loop."""
        permit = self._request()
        try:
            await asyncio.wrap_future(permit)
        except BaseException:
            self._abandon(permit)
            raise

    def release(self) -> None:
        """Give a permit to whoever has waited longest."""
        with self._lock:
            while self._waiting:
                permit = self._waiting.popleft()
                if permit.set_running_or_notify_cancel():
                    permit.set_result(None)
                    return
            self._free += 1

    def _request(self) -> Future[None]:
        permit: Future[None] = Future()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                permit.set_running_or_notify_cancel()
                permit.set_result(None)
            else:
                self._waiting.append(permit)
        return permit

    def _abandon(self, permit: Future[None]) -> None:
        if not permit.cancel() and not permit.cancelled():
            self.release()  # it was granted just before the wait was broken off


_slots: WeakValueDictionary[tuple[object, ...], Slots] = WeakValueDictionary()
_slots_lock = threading.Lock()


def find_slots(*key: object, permits: int) -> Slots:
    """Return the permits of this process for one service and key; forgotten when nobody uses them."""
    with _slots_lock:
        slots = _slots.get((*key, permits))
        if slots is None:
            slots = _slots[(*key, permits)] = Slots(permits)
        return slots


def _renew_lock() -> None:
    global _slots_lock  # noqa: PLW0603  a lock that another thread held at the fork stays locked
    _slots_lock = threading.Lock()


after_fork_in_child(_renew_lock)
