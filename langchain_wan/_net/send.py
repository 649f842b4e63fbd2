"""Requests to a service: they carry the key, and go to `base_url` only.

`transport` imports httpx, so it is imported when a call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._net.messages import Lost, Outcome, Reply, WireRequest, user_agent
from langchain_wan.errors import WanConfigurationError

if TYPE_CHECKING:
    from langchain_wan._net.connections import Route
    from langchain_wan._net.endpoint import Endpoint


ANSWER_CAP = 256 * 2**20  # bytes; four 4K images in base64 can be more than 100 MB
MAX_SEARCHED = 2**20  # bytes; longer answers are not searched for the key, since refusals are short
MIN_KEY = 8  # characters; a placeholder such as "x" occurs in every image


def prepare() -> None:
    """Set up what every request needs, before money is reserved for one.

    Raises:
        WanConfigurationError: The certificates can't be read.
    """
    from langchain_wan._net import tls, transport  # noqa: F401  imported now, so that nothing is missing later

    tls.tls_context()


def send(request: WireRequest, endpoint: Endpoint, deadline: float) -> Outcome:
    """Send a request to the service, with the key."""
    outcome = load_transport().exchange(*_address(request, endpoint, deadline), ANSWER_CAP)
    return _remove_key(outcome, endpoint)


async def asend(request: WireRequest, endpoint: Endpoint, deadline: float) -> Outcome:
    """Do what `send` does without blocking the event loop."""
    transport = await in_thread(load_transport)
    outcome = await transport.aexchange(*_address(request, endpoint, deadline), ANSWER_CAP)
    return _remove_key(outcome, endpoint)


def load_transport() -> Any:
    """Import `transport` and read the certificates: too slow for an event loop, so async code calls it in a thread."""
    from langchain_wan._net import transport

    with suppress(WanConfigurationError):  # raised again where it is the outcome of a request
        prepare()
    return transport


def _address(
    request: WireRequest, endpoint: Endpoint, deadline: float
) -> tuple[str, str, Mapping[str, str], bytes, Route]:
    from langchain_wan._net.connections import Route

    route = Route(deadline, proxy=endpoint.proxy)
    # Identity: the size of a compressed answer is only known once it is decoded.
    headers = {
        "User-Agent": user_agent(),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        **request.headers,
        "Authorization": f"Bearer {route.credentials.add(endpoint.api_key)}",
    }
    return request.method, endpoint.base_url + request.path, headers, request.body, route


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
