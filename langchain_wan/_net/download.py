"""Downloads: always without the key, and each redirect is checked like the first URL.

One attempt each; how often and when to try again stands in `_call/delivery.py`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._media.formats import MAX_FILE_BYTES
from langchain_wan._net.addresses import Network, RefusedAddressError, parse_target
from langchain_wan._net.endpoint import is_loopback
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply, user_agent
from langchain_wan._net.send import load_transport

if TYPE_CHECKING:
    from langchain_wan._net.connections import Route
    from langchain_wan._net.proxy import Proxy

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Download:
    """How images are downloaded: by when, through which proxy, and from which hosts.

    Attributes:
        deadline: Monotonic time at which everything ends.
        service: Host and port of the service on this machine that sent the URLs. Downloads from it are allowed
            although it is internal. None if the service is on another machine.
        allow_http: Whether plain http may be used.
        proxy: A proxy; None means a direct connection.
        networks: Internal networks that may be reached.
    """

    deadline: float
    service: tuple[str, int] | None = None
    allow_http: bool = False
    proxy: Proxy | None = None
    networks: tuple[Network, ...] = ()

    def run(self, url: str) -> Outcome:
        """Download one image."""
        from langchain_wan._net import transport

        hops = self._hops(url)
        try:
            request = next(hops)
            while True:
                request = hops.send(transport.exchange("GET", *request, MAX_FILE_BYTES))
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome

    async def arun(self, url: str) -> Outcome:
        """Do what `run` does without blocking the event loop."""
        transport = await in_thread(load_transport)
        hops = self._hops(url)
        try:
            request = next(hops)
            while True:
                request = hops.send(await transport.aexchange("GET", *request, MAX_FILE_BYTES))
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome

    def _hops(self, url: str) -> Generator[tuple[str, dict[str, str], bytes, Route], Any, Outcome]:
        headers = {"User-Agent": user_agent(), "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        for _ in range(1 + MAX_REDIRECTS):
            try:
                route = self._route(url)
            except RefusedAddressError as error:
                return NotSent(f"its URL is not allowed: {error}", transient=False)
            outcome: Outcome = yield url, headers, b"", route
            location = outcome.headers.get("location") if isinstance(outcome, Reply) else None
            if not isinstance(outcome, Reply) or outcome.status not in REDIRECTS or location is None:
                return _check_not_empty(outcome)
            try:
                next_url = urljoin(url, location)
            except ValueError:  # brackets without an IP address
                return NotSent("it redirects to something that is not a URL", transient=False)
            if url.startswith("https:") and not next_url.startswith("https:"):
                return NotSent("it redirects from https to plain http", transient=False)
            url = next_url
        return NotSent("it redirects too often", transient=False)

    def _route(self, url: str) -> Route:
        from langchain_wan._net.connections import Route

        allowed = frozenset({self.service} if self.service else ())
        target = parse_target(url, allow_http=self.allow_http, allowed=allowed, networks=self.networks)
        internal = (target.host, target.port) in allowed
        return Route(
            self.deadline,
            public_only=not internal,
            allowed=self.networks,
            proxy=None if internal or is_loopback(target.host) else self.proxy,
        )


def _check_not_empty(outcome: Outcome) -> Outcome:
    # Without a Content-Length, an answer that was cut off is only noticed when the image itself is checked.
    if isinstance(outcome, Reply) and not outcome.body and outcome.status == HTTPStatus.OK:
        return Lost("read", "the file is empty")
    return outcome
