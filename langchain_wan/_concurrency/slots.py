"""Permits that limit the paid calls in flight, for threads and event loops together."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from weakref import WeakValueDictionary

from langchain_wan._concurrency.forks import after_fork_in_child


class Slots:
    """A number of permits, given out in the order of waiting to threads and to tasks of any event loop."""

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
        """Pass the permit on to the thread or task that has waited longest."""
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
            self.release()  # it was granted just before the wait was interrupted


_slots: WeakValueDictionary[tuple[object, ...], Slots] = WeakValueDictionary()
_slots_lock = threading.Lock()


def find_slots(*key: object, permits: int) -> Slots:
    """Return the permits of this process for one service and key, shared by all who use them at the time."""
    with _slots_lock:
        slots = _slots.get((*key, permits))
        if slots is None:
            slots = _slots[(*key, permits)] = Slots(permits)
        return slots


def _renew_lock() -> None:
    global _slots_lock  # noqa: PLW0603  a lock that another thread had taken at the fork stays locked
    _slots_lock = threading.Lock()


after_fork_in_child(_renew_lock)
