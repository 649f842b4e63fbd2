"""Host names turned into addresses, within a deadline."""

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
    if _is_address(host):
        return _looked_up(host, port)
    outcome: Future[list[Any]] = Future()
    _look_up_in_background(host, port, outcome)
    try:
        return outcome.result(timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the name could not be resolved in time") from error


async def aresolve(host: str, port: int, timeout: float) -> list[Any]:
    if _is_address(host):
        return _looked_up(host, port)
    outcome: Future[list[Any]] = Future()
    _look_up_in_background(host, port, outcome)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(outcome), timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout("the name could not be resolved in time") from error


def _look_up_in_background(host: str, port: int, outcome: Future[list[Any]]) -> None:
    # getaddrinfo knows no timeout, and a broken resolver takes 30 s: such a thread is left to itself.
    def look_up() -> None:
        try:
            found = _looked_up(host, port)
        except httpcore.ConnectError as error:
            with suppress(InvalidStateError):
                outcome.set_exception(error)
        else:
            with suppress(InvalidStateError):
                outcome.set_result(found)

    threading.Thread(target=look_up, name="langchain-wan-resolve", daemon=True).start()


def _looked_up(host: str, port: int) -> list[Any]:
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
