"""The network: one fresh connection for each request, a deadline for all of it, and only addresses that are allowed.

httpx has timeouts for each chunk, not for a whole request, and checks no address. Both live here, in an `httpcore`
network backend: it resolves once, judges every answer, dials one of those, and gives each read and write what is
left until the deadline. Importing this module imports httpx, so it is imported when a call is made.
"""

from __future__ import annotations

import io
import ipaddress
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import httpcore
import httpx

from langchain_wan._net.addresses import RefusedAddressError, check_dial
from langchain_wan._net.messages import Lost, NotSent, Outcome, decode_reply
from langchain_wan._net.resolver import aresolve, resolve

SocketOptions: TypeAlias = Iterable[Any] | None
Headers: TypeAlias = Mapping[str, str]
WRITE_SLICE = 2**16
CONNECT_TIMEOUT = 15.0  # seconds for name, connection and TLS handshake each, within the deadline


@dataclass(frozen=True)
class Route:
    """How a request may travel.

    Attributes:
        deadline: Monotonic time at which everything ends.
        public_only: Whether internal addresses are refused.
        allowed: Networks that are allowed although they are internal.
        proxy: URL of a proxy, which then resolves names itself; None means a direct connection.
    """

    deadline: float
    public_only: bool = False
    allowed: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    proxy: str | None = None

    def left(self, timeout: float | None = None) -> float:
        """Return the seconds that are left, at most `timeout`, and at least an instant."""
        left = max(0.001, self.deadline - time.monotonic())
        return left if timeout is None else min(left, timeout)

    def addresses(self, found: list[Any]) -> list[str]:
        """Return the addresses that a name resolved to, if every one of them is allowed."""
        places = {str(entry[4][0]): int(entry[4][1]) for entry in found}
        if self.public_only and self.proxy is None:  # a proxy resolves the name itself
            for address, port in places.items():
                try:
                    check_dial(ipaddress.ip_address(address), port, allowed=self.allowed)
                except RefusedAddressError as error:
                    raise httpcore.ConnectError(str(error)) from error
        return list(places)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, route: Route) -> None:
        self._stream, self._route = stream, route

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        _check(self._route, httpcore.ReadTimeout)
        return self._stream.read(max_bytes, self._route.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_SLICE):  # httpcore gives each piece of a write the whole time
            _check(self._route, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + WRITE_SLICE], self._route.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._route.left(timeout)), self._route)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, route: Route) -> None:
        self._stream, self._route = stream, route

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        _check(self._route, httpcore.ReadTimeout)
        return await self._stream.read(max_bytes, self._route.left(timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        _check(self._route, httpcore.WriteTimeout)
        await self._stream.write(buffer, self._route.left(timeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        started = await self._stream.start_tls(ssl_context, server_hostname, self._route.left(timeout))
        return _AsyncStream(started, self._route)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, route: Route) -> None:
        self._route = route

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        addresses = self._route.addresses(resolve(host, port, self._route.left(timeout)))
        last: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            _check(self._route, httpcore.ConnectTimeout)
            try:
                stream = httpcore.SyncBackend().connect_tcp(
                    address, port, self._route.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _Stream(stream, self._route)
        raise last


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, route: Route) -> None:
        self._route = route

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = self._route.addresses(await aresolve(host, port, self._route.left(timeout)))
        last: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            _check(self._route, httpcore.ConnectTimeout)
            try:
                stream = await httpcore.AnyIOBackend().connect_tcp(
                    address, port, self._route.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _AsyncStream(stream, self._route)
        raise last


@dataclass
class _Progress:
    """How far an exchange came, so that a failure can say what it proves; of a POST, what was received is kept."""

    method: str
    stage: str = "connect"
    status: int = 0
    received: io.BytesIO = field(default_factory=io.BytesIO)  # grows in place, and gives its bytes without a copy

    def started(self, response: httpcore.Response) -> None:
        self.stage, self.status = "read", response.status

    def add(self, chunk: bytes, cap: int) -> None:
        self.received.write(chunk)
        if self.received.tell() > cap:
            raise _TooLargeError


class _TooLargeError(Exception):
    pass


def exchange(method: str, url: str, headers: Headers, body: bytes, route: Route, cap: int) -> Outcome:
    """Send one request on a connection of its own and read the whole answer, at most `cap` bytes of it.

    A kept connection that the server closes meanwhile can't be told from one that broke after the request was
    worked on: reusing none removes that doubt. Redirects are not followed.
    """
    progress = _Progress(method)
    try:
        pool = _pool(route, url, asynchronous=False)
        progress.stage = "wait"
        response = pool.handle_request(_request(method, url, headers, body))
        try:
            progress.started(response)
            for chunk in response.iter_stream():
                progress.add(chunk, cap)
        finally:
            response.close()
    except FAILURES as error:
        return _outcome_of(error, progress)
    return _reply(response, progress, cap)


async def aexchange(method: str, url: str, headers: Headers, body: bytes, route: Route, cap: int) -> Outcome:
    """Do what `exchange` does without blocking the event loop."""
    progress = _Progress(method)
    try:
        pool = _pool(route, url, asynchronous=True)
        progress.stage = "wait"
        response = await pool.handle_async_request(_request(method, url, headers, body))
        try:
            progress.started(response)
            async for chunk in response.aiter_stream():
                progress.add(chunk, cap)
        finally:
            await response.aclose()
    except FAILURES as error:
        return _outcome_of(error, progress)
    return _reply(response, progress, cap)


# What httpcore raises, what httpx raises over an address that is none, and our own cap.
FAILURES = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    UnicodeError,
    _TooLargeError,
)
# Raised only before a byte of the request is written.
NEVER_SENT = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    UnicodeError,
)


def _outcome_of(error: Exception, progress: _Progress) -> Outcome:
    if isinstance(error, NEVER_SENT):
        refused = _caused_by(error, ssl.SSLCertVerificationError)
        if refused is not None:
            return NotSent(f"its certificate was not accepted ({refused.verify_message})", transient=False)
        if _caused_by(error, RefusedAddressError) is not None:
            return NotSent("its address is not allowed", transient=False)
        return NotSent(NOT_SENT_REASONS.get(type(error), "it is no address"), type(error) in NOT_SENT_REASONS)
    stage = "send" if isinstance(error, httpcore.WriteTimeout | httpcore.WriteError) else progress.stage
    reason = LOST_REASONS.get(type(error), "the connection broke")
    paid = progress.method == "POST" and 200 <= progress.status < 300  # noqa: PLR2004  the 2xx range
    received = progress.received.getvalue() if paid else None
    return Lost(stage, reason, received)


NOT_SENT_REASONS: dict[type[Exception], str] = {
    httpcore.ConnectError: "no connection could be made",
    httpcore.ConnectTimeout: "connecting took too long",
    httpcore.PoolTimeout: "no connection was free",
    httpcore.ProxyError: "the proxy refused the connection",
}
LOST_REASONS: dict[type[Exception], str] = {
    httpcore.ReadTimeout: "it took too long",
    httpcore.WriteTimeout: "it took too long to send",
    _TooLargeError: "the answer is larger than is accepted",
}

E = TypeVar("E", bound=BaseException)


def _caused_by(error: BaseException | None, kind: type[E]) -> E | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _reply(response: httpcore.Response, progress: _Progress, cap: int) -> Outcome:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return decode_reply(response.status, headers, progress.received.getvalue(), cap)


def _pool(route: Route, url: str, *, asynchronous: bool) -> Any:
    backend = _AsyncBackend(route) if asynchronous else _Backend(route)
    options: dict[str, Any] = {"network_backend": backend, "max_connections": 1, "max_keepalive_connections": 0}
    if url.startswith("https:") or route.proxy is not None:
        options["ssl_context"] = tls_context()
    if route.proxy is not None:
        proxy = httpx.Proxy(route.proxy)
        kind: Any = httpcore.AsyncHTTPProxy if asynchronous else httpcore.HTTPProxy
        return kind(proxy_url=str(proxy.url), proxy_auth=proxy.raw_auth, **options)
    kind = httpcore.AsyncConnectionPool if asynchronous else httpcore.ConnectionPool
    return kind(**options)


def _request(method: str, url: str, headers: Headers, body: bytes) -> httpcore.Request:
    target = _parsed(url)
    sent: list[tuple[bytes | str, bytes | str]] = [("Host", target.netloc), *headers.items()]
    if body:
        sent.append(("Content-Length", str(len(body))))
    return httpcore.Request(
        method,
        httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path),
        headers=sent,
        content=body,
        extensions={"timeout": {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT}},
    )


@lru_cache(maxsize=16)  # the address of paid calls is the same each time
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return the TLS settings of httpx, made once: `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured."""
    return httpx.create_ssl_context()


def _check(route: Route, error: Callable[[str], Exception]) -> None:
    if time.monotonic() >= route.deadline:
        raise error("the deadline has passed")
