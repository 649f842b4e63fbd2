"""DNS lookups that end in time."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import httpcore


def resolve(host: str, port: int, timeout: float) -> list[Any]:
    """Return what `socket.getaddrinfo` finds for a host.

    Raises:
        httpcore.ConnectError: The name does not exist, or cannot be resolved.
        httpcore.ConnectTimeout: It took longer than `timeout` seconds.
    """
    if _is_address(host):
        return _look_up(host, port)
    outcome = _look_up_in_background(host, port)
    try:
        return outcome.result(timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the name could not be resolved in time") from error


async def aresolve(host: str, port: int, timeout: float) -> list[Any]:
    """Do what `resolve` does without blocking the event loop."""
    if _is_address(host):
        return _look_up(host, port)
    outcome = _look_up_in_background(host, port)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(outcome), timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the name could not be resolved in time") from error


def _look_up_in_background(host: str, port: int) -> Future[list[Any]]:
    # getaddrinfo has no timeout, and a broken resolver takes 30 s: nobody waits for such a thread.
    outcome: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            addresses = _look_up(host, port)
        except httpcore.ConnectError as error:
            with suppress(InvalidStateError):
                outcome.set_exception(error)
        else:
            with suppress(InvalidStateError):
                outcome.set_result(addresses)

    threading.Thread(target=look_up, name="langchain-wan-resolve", daemon=True).start()
    return outcome


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
