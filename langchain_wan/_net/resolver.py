"""DNS lookups that end in time, in a bounded number of threads."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

import httpcore

from langchain_wan._concurrency.forks import after_fork_in_child

MAX_THREADS = 16  # a broken resolver takes 30 s for a name; further lookups wait for a thread until their time is over


def resolve(host: str, port: int, timeout: float) -> list[Any]:
    """Return what `socket.getaddrinfo` finds for a host.

    Raises:
        httpcore.ConnectError: The name does not exist, or cannot be resolved.
        httpcore.ConnectTimeout: It took longer than `timeout` seconds.
    """
    if _is_address(host):
        return _look_up(host, port)
    outcome = _threads.look_up(host, port)
    try:
        return outcome.result(timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the name could not be resolved in time") from error
    finally:
        outcome.cancel()  # a lookup that has not begun is not begun any more


async def aresolve(host: str, port: int, timeout: float) -> list[Any]:
    """Do what `resolve` does without blocking the event loop."""
    if _is_address(host):
        return _look_up(host, port)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(_threads.look_up(host, port)), timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the name could not be resolved in time") from error


class _Threads:
    """Lookups in threads of their own: getaddrinfo has no timeout, so nobody waits for these, not even at the end."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[list[Any]], str, int]] = deque()
        self._running = 0
        self._lock = threading.Lock()

    def look_up(self, host: str, port: int) -> Future[list[Any]]:
        outcome: Future[list[Any]] = Future()
        with self._lock:
            self._waiting.append((outcome, host, port))
            if self._running == MAX_THREADS:
                return outcome
            self._running += 1
        try:
            threading.Thread(target=self._run, name="langchain-wan-resolve", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._running -= 1
            outcome.cancel()
            raise httpcore.ConnectError("no thread could be started to resolve the name") from error
        return outcome

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                outcome, host, port = self._waiting.popleft()
            if not outcome.set_running_or_notify_cancel():
                continue
            try:
                outcome.set_result(_look_up(host, port))
            except Exception as error:  # noqa: BLE001  raised again where it is waited for
                outcome.set_exception(error)


_threads = _Threads()


def _renew() -> None:
    global _threads  # noqa: PLW0603  threads do not survive a fork, and a lock that one had taken stays locked
    _threads = _Threads()


after_fork_in_child(_renew)


def _look_up(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError("the name could not be resolved") from error


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
