"""Locks and state after a fork. Does nothing on systems that cannot fork, such as Windows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Self

_process = object()


def after_fork_in_child(function: Callable[[], object]) -> None:
    """Call a function in each child process, right after the fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def lock_across_forks(lock: threading.Lock | threading.RLock) -> None:
    """Let each fork wait for a lock, so that no child process starts in the middle of a change."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


def current_process() -> object:
    """Return an object that stands for this process: another one in each child, without a system call."""
    return _process


def _renew_process() -> None:
    global _process  # noqa: PLW0603  the child is another process
    _process = object()


after_fork_in_child(_renew_process)


class ForkGate:
    """Code that many threads run at once, and that no fork may interrupt: a fork waits until all have left.

    The thread that forks may be inside itself, since a signal handler can fork anywhere.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._inside = 0
        self._is_forking = False
        self._own = threading.local()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._open_in_child)

    def __enter__(self) -> Self:
        with self._changed:
            own = getattr(self._own, "count", 0)
            self._changed.wait_for(lambda: own or not self._is_forking)
            self._own.count = own + 1
            self._inside += 1
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._own.count -= 1
            self._inside -= 1
            self._changed.notify_all()

    def _close(self) -> None:
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._is_forking)  # another thread forks as well
        self._is_forking = True
        own = getattr(self._own, "count", 0)
        self._changed.wait_for(lambda: self._inside == own)

    def _open(self) -> None:
        self._is_forking = False
        self._changed.notify_all()
        self._changed.release()

    def _open_in_child(self) -> None:
        self._inside = getattr(self._own, "count", 0)
        self._is_forking = False
        self._changed.release()
