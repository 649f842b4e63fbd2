"""One HTTP request on a connection of its own, and what its outcome proves: answered, never sent, or lost.

Importing this module imports httpx, so it is imported when a call is made.
"""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import httpcore
import httpx

from langchain_wan._net.addresses import RefusedAddressError
from langchain_wan._net.connections import AsyncBackend, Backend, Route
from langchain_wan._net.decoding import decode_reply
from langchain_wan._net.messages import Lost, NotSent, Outcome, is_success

Headers: TypeAlias = Mapping[str, str]
CONNECT_TIMEOUT = 15.0  # seconds for name, connection and TLS handshake each, within the deadline


def exchange(method: str, url: str, headers: Headers, body: bytes, route: Route, cap: int) -> Outcome:
    """Send one request on a new connection and read the whole answer, at most `cap` bytes of it.

    No connection is reused: if the server closes a reused one, nobody can tell whether it processed the request.
    Redirects are not followed.
    """
    progress = _Progress(method, cap)
    try:
        pool = _build_pool(route, url, asynchronous=False)
        progress.stage = "wait"
        response = pool.handle_request(_build_request(method, url, headers, body))
        try:
            progress.start_reading(response)
            for chunk in response.iter_stream():
                progress.add(chunk)
        finally:
            response.close()
    except FAILURES as error:
        return _read_failure(error, progress)
    return _read_reply(response, progress)


async def aexchange(method: str, url: str, headers: Headers, body: bytes, route: Route, cap: int) -> Outcome:
    """Do what `exchange` does without blocking the event loop."""
    progress = _Progress(method, cap)
    try:
        pool = _build_pool(route, url, asynchronous=True)
        progress.stage = "wait"
        response = await pool.handle_async_request(_build_request(method, url, headers, body))
        try:
            progress.start_reading(response)
            async for chunk in response.aiter_stream():
                progress.add(chunk)
        finally:
            await response.aclose()
    except FAILURES as error:
        return _read_failure(error, progress)
    return _read_reply(response, progress)


@dataclass
class _Progress:
    """How far an exchange came, so that a failure can say what it proves."""

    method: str
    cap: int
    stage: str = "connect"
    status: int = 0
    received: io.BytesIO = field(default_factory=io.BytesIO)  # grows in place, and gives its bytes without a copy

    def start_reading(self, response: httpcore.Response) -> None:
        self.stage, self.status = "read", response.status

    def add(self, chunk: bytes) -> None:
        self.received.write(chunk)
        if self.received.tell() > self.cap:
            raise _TooLargeError


class _TooLargeError(Exception):
    """More bytes came than the cap allows."""


def _read_reply(response: httpcore.Response, progress: _Progress) -> Outcome:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return decode_reply(response.status, headers, progress.received.getvalue(), progress.cap)


# What httpcore raises, what httpx raises for a URL that it cannot read, and our own cap.
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


def _read_failure(error: Exception, progress: _Progress) -> Outcome:
    if isinstance(error, NEVER_SENT):
        return _explain_not_sent(error)
    stage = "send" if isinstance(error, httpcore.WriteTimeout | httpcore.WriteError) else progress.stage
    if isinstance(error, _TooLargeError):
        reason = f"the answer is larger than {progress.cap // 2**20} MiB"
    else:
        reason = LOST_REASONS.get(type(error), "the connection broke")
    # Only what was paid for is worth keeping.
    received = progress.received.getvalue() if progress.method == "POST" and is_success(progress.status) else None
    return Lost(stage, reason, received)


def _explain_not_sent(error: Exception) -> NotSent:
    refused = _find_cause(error, ssl.SSLCertVerificationError)
    if refused is not None:
        return NotSent(f"its certificate was not accepted ({refused.verify_message})", transient=False)
    if _find_cause(error, RefusedAddressError) is not None:
        return NotSent("its address is not allowed", transient=False)
    if type(error) in NOT_SENT_REASONS:
        return NotSent(NOT_SENT_REASONS[type(error)])
    return NotSent("its address is not valid", transient=False)


NOT_SENT_REASONS: dict[type[Exception], str] = {
    httpcore.ConnectError: "no connection could be made",
    httpcore.ConnectTimeout: "connecting took too long",
    httpcore.PoolTimeout: "no connection was free",
    httpcore.ProxyError: "the proxy refused the connection",
}
LOST_REASONS: dict[type[Exception], str] = {
    httpcore.ReadTimeout: "it took too long",
    httpcore.WriteTimeout: "it took too long to send",
}

E = TypeVar("E", bound=BaseException)


def _find_cause(error: BaseException | None, kind: type[E]) -> E | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _build_pool(route: Route, url: str, *, asynchronous: bool) -> Any:
    backend = AsyncBackend(route) if asynchronous else Backend(route)
    options: dict[str, Any] = {"network_backend": backend, "max_connections": 1, "max_keepalive_connections": 0}
    if url.startswith("https:") or route.proxy is not None:
        options["ssl_context"] = tls_context()
    if route.proxy is not None:
        proxy = httpx.Proxy(route.proxy)
        kind: Any = httpcore.AsyncHTTPProxy if asynchronous else httpcore.HTTPProxy
        return kind(proxy_url=str(proxy.url), proxy_auth=proxy.raw_auth, **options)
    kind = httpcore.AsyncConnectionPool if asynchronous else httpcore.ConnectionPool
    return kind(**options)


def _build_request(method: str, url: str, headers: Headers, body: bytes) -> httpcore.Request:
    target = _parse(url)
    lines: list[tuple[bytes | str, bytes | str]] = [("Host", target.netloc), *headers.items()]
    if body:
        lines.append(("Content-Length", str(len(body))))
    return httpcore.Request(
        method,
        httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path),
        headers=lines,
        content=body,
        extensions={"timeout": {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT}},
    )


@lru_cache(maxsize=16)  # paid calls use the same URL each time
def _parse(url: str) -> httpx.URL:
    return httpx.URL(url)


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return the TLS settings of httpx, built once; `SSL_CERT_FILE` and `SSL_CERT_DIR` are read."""
    return httpx.create_ssl_context()
