"""Requests to a service: they carry the key, and go to `base_url` only.

`transport` imports httpx, so it is imported when a call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._net.decoding import ANSWER_CAP, REFUSAL_CAP
from langchain_wan._net.key_removal import find_key_removal
from langchain_wan._net.messages import Outcome, WireRequest, is_large, user_agent
from langchain_wan.errors import WanConfigurationError

if TYPE_CHECKING:
    from langchain_wan._net.connections import Route
    from langchain_wan._net.endpoint import Endpoint


def prepare() -> None:
    """Set up what every request needs, before money is reserved for one.

    Raises:
        WanConfigurationError: The certificates can't be read.
    """
    from langchain_wan._net import tls, transport  # noqa: F401  imported now, so that nothing is missing later

    tls.tls_context()


def send(request: WireRequest, endpoint: Endpoint, deadline: float) -> Outcome:
    """Send a request to the service, with the key."""
    outcome = load_transport().exchange(*_address(request, endpoint, deadline), _find_cap(request))
    return find_key_removal(endpoint.api_key).clean(outcome)


async def asend(request: WireRequest, endpoint: Endpoint, deadline: float) -> Outcome:
    """Do what `send` does without blocking the event loop."""
    transport = await in_thread(load_transport)
    outcome = await transport.aexchange(*_address(request, endpoint, deadline), _find_cap(request))
    clean = find_key_removal(endpoint.api_key).clean
    return await in_thread(clean, outcome) if is_large(outcome) else clean(outcome)


def _find_cap(request: WireRequest) -> int:
    return ANSWER_CAP if request.method == "POST" else REFUSAL_CAP  # only a paid answer holds images


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
