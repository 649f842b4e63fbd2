"""Requests to a service: they carry the key, and go to `base_url` only.

`transport` imports httpx, so it is imported when a call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._net.messages import Lost, Outcome, Reply, WireRequest, user_agent

if TYPE_CHECKING:
    from langchain_wan._net.endpoint import Endpoint


ANSWER_CAP = 256 * 2**20  # bytes; four 4K images in base64 can be more than 100 MB
MAX_SEARCHED = 2**20  # bytes; longer answers are not searched for the key, since refusals are short
MIN_KEY = 8  # characters; a placeholder such as "x" occurs in every image


def send(request: WireRequest, endpoint: Endpoint, deadline: float, proxy: str | None = None) -> Outcome:
    """Send a request to the service, with the key."""
    from langchain_wan._net import connections, transport

    route = connections.Route(deadline, proxy=proxy)
    url, headers = endpoint.base_url + request.path, _add_key(request, endpoint)
    return _remove_key(transport.exchange(request.method, url, headers, request.body, route, ANSWER_CAP), endpoint)


async def asend(request: WireRequest, endpoint: Endpoint, deadline: float, proxy: str | None = None) -> Outcome:
    """Do what `send` does without blocking the event loop."""
    transport = await in_thread(load_transport)
    from langchain_wan._net import connections

    route = connections.Route(deadline, proxy=proxy)
    url, headers = endpoint.base_url + request.path, _add_key(request, endpoint)
    outcome = await transport.aexchange(request.method, url, headers, request.body, route, ANSWER_CAP)
    return _remove_key(outcome, endpoint)


def load_transport() -> Any:
    """Import `transport` and read the certificates: too slow for an event loop, so async code calls it in a thread."""
    from langchain_wan._net import transport

    transport.tls_context()
    return transport


def _add_key(request: WireRequest, endpoint: Endpoint) -> Mapping[str, str]:
    # Identity: the size of a compressed answer is only known once it is decoded.
    headers = {
        "User-Agent": user_agent(),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        **request.headers,
        "Authorization": f"Bearer {endpoint.api_key.get_secret_value()}",
    }
    return _SecretHeaders(headers)


class _SecretHeaders(dict[str, str]):
    """Headers with the key: a traceback that prints local variables must not show it."""

    def __repr__(self) -> str:
        return "{...}"


def _remove_key(outcome: Outcome, endpoint: Endpoint) -> Outcome:
    # A gateway that refuses a key may quote it: no error, log or saved answer may contain it.
    key = endpoint.api_key.get_secret_value().encode()
    if len(key) < MIN_KEY:
        return outcome
    if isinstance(outcome, Reply):
        headers = {name: value.replace(key.decode(), "[key]") for name, value in outcome.headers.items()}
        body = outcome.body.replace(key, b"[key]") if len(outcome.body) <= MAX_SEARCHED else outcome.body
        return replace(outcome, body=body, headers=headers)
    if isinstance(outcome, Lost) and outcome.received is not None and len(outcome.received) <= MAX_SEARCHED:
        return replace(outcome, received=outcome.received.replace(key, b"[key]"))
    return outcome
