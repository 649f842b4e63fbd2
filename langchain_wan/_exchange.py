"""What the drivers send: paid requests with the key, to the origin of `base_url` only; downloads without it.

`_guard` brings httpx along, so it is imported when a call is made.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from langchain_wan._addresses import RefusedAddressError, target_of
from langchain_wan._executor import in_thread
from langchain_wan._pixels import MAX_FILE_BYTES
from langchain_wan._version import __version__
from langchain_wan._wire import Lost, NotSent, Outcome, Reply, WireRequest

if TYPE_CHECKING:
    from langchain_wan._guard import Route
    from langchain_wan.settings import Service, WanSettings

ANSWER_CAP = 256 * 2**20  # four 4K pictures in base64 can pass 100 MB
MAX_REDIRECTS = 3
EXAMINED = 2**20  # bytes of an answer in which a key is looked for: refusals are short
SHORTEST_KEY = 8  # characters
REDIRECTS = frozenset({301, 302, 303, 307, 308})
USER_AGENT = f"langchain-wan/{__version__}"


def send(request: WireRequest, service: Service, settings: WanSettings, deadline: float) -> Outcome:
    """Send a request to the service, with the key."""
    from langchain_wan import _guard

    route = _guard.Route(deadline, proxy=settings.proxy)
    url, headers = service.base_url + request.path, _with_key(request, service)
    return _without_key(_guard.exchange(request.method, url, headers, request.body, route, ANSWER_CAP), service)


async def asend(request: WireRequest, service: Service, settings: WanSettings, deadline: float) -> Outcome:
    """Do what `send` does without blocking the event loop."""
    _guard = await in_thread(_loaded_guard)
    route = _guard.Route(deadline, proxy=settings.proxy)
    url, headers = service.base_url + request.path, _with_key(request, service)
    return _without_key(await _guard.aexchange(request.method, url, headers, request.body, route, ANSWER_CAP), service)


def _loaded_guard() -> Any:
    # Importing httpx and reading certificates take longer than an event loop should wait.
    from langchain_wan import _guard

    _guard.tls_context()
    return _guard


def _with_key(request: WireRequest, service: Service) -> Mapping[str, str]:
    # Identity: a compressed answer would have to be decoded before its size is known.
    plain = {"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
    return _Hidden({**plain, "Authorization": f"Bearer {service.api_key.get_secret_value()}"})


class _Hidden(dict[str, str]):
    """Headers that hold the key: a call that is interrupted shows them to whoever prints the locals of each frame."""

    def __repr__(self) -> str:
        return "{...}"


def _without_key(outcome: Outcome, service: Service) -> Outcome:
    # A gateway that refuses a key may quote it; no error, log or kept answer is to hold it.
    key = service.api_key.get_secret_value().encode()
    if len(key) < SHORTEST_KEY:  # a stand-in such as "x", which stands in every picture
        return outcome
    if isinstance(outcome, Reply):
        headers = {name: value.replace(key.decode(), "[key]") for name, value in outcome.headers.items()}
        body = outcome.body.replace(key, b"[key]") if len(outcome.body) <= EXAMINED else outcome.body
        return replace(outcome, body=body, headers=headers)
    if isinstance(outcome, Lost) and outcome.received is not None and len(outcome.received) <= EXAMINED:
        return replace(outcome, received=outcome.received.replace(key, b"[key]"))
    return outcome


@dataclass(frozen=True)
class Download:
    """Downloads images, never with the key, redirects followed by hand and judged like the first URL.

    Attributes:
        results: Whether the service named the URL: then plain http may be used, and a service on this machine may
            be downloaded from at its own host and port.
    """

    service: Service
    settings: WanSettings
    deadline: float
    results: bool

    def run(self, url: str) -> Outcome:
        """Download one image."""
        from langchain_wan import _guard

        hops = self._hops(url)
        try:
            request = next(hops)
            while True:
                request = hops.send(_guard.exchange("GET", request[0], _PLAIN, b"", request[1], MAX_FILE_BYTES))
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome

    async def arun(self, url: str) -> Outcome:
        """Do what `run` does without blocking the event loop."""
        _guard = await in_thread(_loaded_guard)
        hops = self._hops(url)
        try:
            request = next(hops)
            while True:
                request = hops.send(await _guard.aexchange("GET", request[0], _PLAIN, b"", request[1], MAX_FILE_BYTES))
        except StopIteration as done:
            outcome: Outcome = done.value
            return outcome

    def _hops(self, url: str) -> Generator[tuple[str, Route], Any, Outcome]:
        for _ in range(1 + MAX_REDIRECTS):
            try:
                route = self._route(url)
            except RefusedAddressError as error:
                return NotSent(f"its URL is not allowed: {error}", passing=False)
            outcome: Outcome = yield url, route
            location = outcome.headers.get("location") if isinstance(outcome, Reply) else None
            if not isinstance(outcome, Reply) or outcome.status not in REDIRECTS or location is None:
                return _whole(outcome)
            try:
                following = urljoin(url, location)
            except ValueError:  # brackets that hold no address
                return NotSent("it redirects to no URL", passing=False)
            if url.startswith("https:") and not following.startswith("https:"):
                return NotSent("it redirects from https to plain http", passing=False)
            url = following
        return NotSent("it redirects too often", passing=False)

    def _route(self, url: str) -> Route:
        from langchain_wan._guard import Route

        own = self.service.loopback if self.results else None
        target = target_of(
            url,
            allow_http=self.results or self.service.loopback is not None,
            allowed=frozenset({own} if own else ()),
            networks=self.settings.allowed_networks,
        )
        internal = own is not None and (target.host, target.port) == own
        return Route(
            self.deadline,
            public_only=not internal,
            allowed=self.settings.allowed_networks,
            proxy=None if internal else self.settings.proxy,
        )


_PLAIN = {"User-Agent": USER_AGENT, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}


def _whole(outcome: Outcome) -> Outcome:
    # A server that closes too early without saying a length is noticed by the image's own structure.
    if isinstance(outcome, Reply) and not outcome.body and outcome.status == 200:  # noqa: PLR2004  OK
        return Lost("read", "the file is empty")
    return outcome
