"""A process that may start no more threads."""

from __future__ import annotations

import threading

import pytest

from langchain_wan._concurrency import executor


def forbid_threads(monkeypatch: pytest.MonkeyPatch, allowed: int = 0) -> None:
    """Let threads of the package fail to start, as at the limit of a process."""
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("langchain-wan"):
            if len(started) >= allowed:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(executor, "_executors", {})
    monkeypatch.setattr(threading.Thread, "start", refuse)
