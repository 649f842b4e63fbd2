"""Locks and state after a fork. Does nothing on systems that cannot fork, such as Windows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


def after_fork_in_child(function: Callable[[], object]) -> None:
    """Call a function in each child process, right after the fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def lock_across_forks(lock: threading.Lock | threading.RLock) -> None:
    """Let each fork wait for a lock, so that no child process starts in the middle of a change."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
