"""How many paid calls may be in flight at once: one count for threads and event loops together."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import Future
from weakref import WeakValueDictionary


class Slots:
    """A number of places; waiting ones are served in order, whether they are threads or tasks of any loop."""

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Wait for a place, blocking the thread."""
        place = self._place()
        try:
            place.result()
        except BaseException:
            self._abandon(place)
            raise

    async def aacquire(self) -> None:
        """Wait for a place without blocking the event loop."""
        place = self._place()
        try:
            await asyncio.wrap_future(place)
        except BaseException:
            self._abandon(place)
            raise

    def release(self) -> None:
        """Give a place back to who waits longest."""
        with self._lock:
            while self._waiting:
                place = self._waiting.popleft()
                if place.set_running_or_notify_cancel():
                    place.set_result(None)
                    return
            self._free += 1

    def _place(self) -> Future[None]:
        place: Future[None] = Future()
        with self._lock:
            if self._free > 0:
                self._free -= 1
                place.set_running_or_notify_cancel()
                place.set_result(None)
            else:
                self._waiting.append(place)
        return place

    def _abandon(self, place: Future[None]) -> None:
        if not place.cancel() and not place.cancelled():
            self.release()  # it was given just before the wait was broken off


_slots: WeakValueDictionary[tuple[object, ...], Slots] = WeakValueDictionary()
_slots_lock = threading.Lock()


def find_slots(*key: object, permits: int) -> Slots:
    """Return the places of this process for one service and key; forgotten when nobody holds them."""
    with _slots_lock:
        found = _slots.get((*key, permits))
        if found is None:
            found = _slots[(*key, permits)] = Slots(permits)
        return found


def _renew_lock() -> None:
    global _slots_lock  # noqa: PLW0603  a lock that another thread held at the fork stays locked
    _slots_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
