"""Requests to a service: they carry the key, and go to the origin of `base_url` only.

`transport` brings httpx along, so it is imported when a call is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._net.messages import Lost, Outcome, Reply, WireRequest, user_agent

if TYPE_CHECKING:
    from langchain_wan._net.endpoint import Endpoint


ANSWER_CAP = 256 * 2**20  # four 4K pictures in base64 can pass 100 MB
EXAMINED = 2**20  # bytes of an answer in which a key is looked for: refusals are short
SHORTEST_KEY = 8  # characters


def send(request: WireRequest, endpoint: Endpoint, deadline: float, proxy: str | None = None) -> Outcome:
    """Send a request to the service, with the key."""
    from langchain_wan._net import transport

    route = transport.Route(deadline, proxy=proxy)
    url, headers = endpoint.base_url + request.path, _with_key(request, endpoint)
    return _without_key(transport.exchange(request.method, url, headers, request.body, route, ANSWER_CAP), endpoint)


async def asend(request: WireRequest, endpoint: Endpoint, deadline: float, proxy: str | None = None) -> Outcome:
    """Do what `send` does without blocking the event loop."""
    transport = await in_thread(load_transport)
    route = transport.Route(deadline, proxy=proxy)
    url, headers = endpoint.base_url + request.path, _with_key(request, endpoint)
    return _without_key(
        await transport.aexchange(request.method, url, headers, request.body, route, ANSWER_CAP), endpoint
    )


def load_transport() -> Any:
    # Importing httpx and reading certificates take longer than an event loop should wait.
    from langchain_wan._net import transport

    transport.tls_context()
    return transport


def _with_key(request: WireRequest, endpoint: Endpoint) -> Mapping[str, str]:
    # Identity: a compressed answer would have to be decoded before its size is known.
    plain = {"User-Agent": user_agent(), "Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
    return _Hidden({**plain, "Authorization": f"Bearer {endpoint.api_key.get_secret_value()}"})


class _Hidden(dict[str, str]):
    """Headers that hold the key: a call that is interrupted shows them to whoever prints the locals of each frame."""

    def __repr__(self) -> str:
        return "{...}"


def _without_key(outcome: Outcome, endpoint: Endpoint) -> Outcome:
    # A gateway that refuses a key may quote it; no error, log or kept answer is to hold it.
    key = endpoint.api_key.get_secret_value().encode()
    if len(key) < SHORTEST_KEY:  # a stand-in such as "x", which stands in every picture
        return outcome
    if isinstance(outcome, Reply):
        headers = {name: value.replace(key.decode(), "[key]") for name, value in outcome.headers.items()}
        body = outcome.body.replace(key, b"[key]") if len(outcome.body) <= EXAMINED else outcome.body
        return replace(outcome, body=body, headers=headers)
    if isinstance(outcome, Lost) and outcome.received is not None and len(outcome.received) <= EXAMINED:
        return replace(outcome, received=outcome.received.replace(key, b"[key]"))
    return outcome
