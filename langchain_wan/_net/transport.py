"""One HTTP request on a connection of its own, and what its outcome proves: answered, never sent, or lost.

Importing this module imports httpx, so it is imported when a call is made.
"""

from __future__ import annotations

import io
import logging
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import httpcore
import httpx

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._net.addresses import RefusedAddressError
from langchain_wan._net.connections import AsyncBackend, Backend, Route
from langchain_wan._net.decoding import REFUSAL_CAP, decode_reply
from langchain_wan._net.messages import LARGE, Lost, NotSent, Outcome, is_success
from langchain_wan._net.tls import tls_context
from langchain_wan.errors import WanConfigurationError

Headers: TypeAlias = Mapping[str, str]
CONNECT_TIMEOUT = 15.0  # seconds for name, connection and TLS handshake each, within the deadline


def exchange(method: str, url: str, headers: Headers, body: bytes, route: Route, cap: int) -> Outcome:
    """Send one request on a new connection and read the whole answer, if it is at most `cap` bytes.

    Of an answer that is not a success, the first MiB is read.

    No connection is reused: if the server closes a reused one, nobody can tell whether it processed the request.
    Redirects are not followed.
    """
    progress = _Progress(method, cap)
    within = _within_exchange.set(True)
    try:
        pool = _build_pool(route, url, asynchronous=False)
        response = pool.handle_request(_build_request(method, url, headers, body, progress.trace))
        try:
            progress.start_reading(response)
            for chunk in response.iter_stream():
                if not progress.add(chunk):
                    break
        finally:
            response.close()
    except Exception as error:  # noqa: BLE001  whatever it is, it must say whether the request was sent
        return _read_failure(error, progress)
    finally:
        _within_exchange.reset(within)
    return _read_reply(response, progress)


async def aexchange(method: str, url: str, headers: Headers, body: bytes, route: Route, cap: int) -> Outcome:
    """Do what `exchange` does without blocking the event loop."""
    progress = _Progress(method, cap)
    within = _within_exchange.set(True)
    try:
        pool = _build_pool(route, url, asynchronous=True)
        response = await pool.handle_async_request(_build_request(method, url, headers, body, progress.atrace))
        try:
            progress.start_reading(response)
            async for chunk in response.aiter_stream():
                if not progress.add(chunk):
                    break
        finally:
            await response.aclose()
    except Exception as error:  # noqa: BLE001  whatever it is, it must say whether the request was sent
        return _read_failure(error, progress)
    finally:
        _within_exchange.reset(within)
    if "content-encoding" in _read_headers(response) or progress.received.tell() > LARGE:
        return await in_thread(_read_reply, response, progress)
    return _read_reply(response, progress)


_within_exchange: ContextVar[bool] = ContextVar("langchain_wan_within_exchange", default=False)


class _WithoutAnswers(logging.Filter):
    """Cuts off what httpcore logs of our answers at DEBUG: headers may quote a key, or redirect to a signed URL."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _within_exchange.get():
            event = str(record.msg).partition(" ")[0]
            record.msg = record.msg if event.endswith(".started") else event
        return True


for _name in ("connection", "http11", "proxy"):
    logging.getLogger(f"httpcore.{_name}").addFilter(_WithoutAnswers())


@dataclass
class _Progress:
    """How far an exchange came, so that a failure can say what it proves."""

    method: str
    cap: int
    stage: str = "connect"  # until the first byte of the request itself is written
    status: int = 0
    received: io.BytesIO = field(default_factory=io.BytesIO)  # grows in place, and gives its bytes without a copy

    def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Note when the request begins to be written; httpcore calls this."""
        if event == "http11.send_request_headers.started" and details["request"].method != b"CONNECT":
            self.stage = "wait"

    async def atrace(self, event: str, details: Mapping[str, Any]) -> None:
        self.trace(event, details)

    def start_reading(self, response: httpcore.Response) -> None:
        self.stage, self.status = "read", response.status

    def add(self, chunk: bytes) -> bool:
        """Take a part of the answer, and say whether the next one is needed."""
        self.received.write(chunk)
        if not is_success(self.status):
            return self.received.tell() < REFUSAL_CAP
        if self.received.tell() > self.cap:
            raise _TooLargeError
        return True


class _TooLargeError(Exception):
    """More bytes came than the cap allows."""


def _read_reply(response: httpcore.Response, progress: _Progress) -> Outcome:
    body = progress.received.getvalue()
    if not is_success(response.status):
        body = body[:REFUSAL_CAP]
    return decode_reply(response.status, _read_headers(response), body, progress.cap)


def _read_headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _read_failure(error: Exception, progress: _Progress) -> Outcome:
    if progress.stage == "connect":
        return _explain_not_sent(error)
    stage = "send" if isinstance(error, httpcore.WriteTimeout | httpcore.WriteError) else progress.stage
    # Only what was paid for is worth keeping.
    received = progress.received.getvalue() if progress.method == "POST" and is_success(progress.status) else None
    return Lost(stage, _explain_loss(error, progress), received, is_late=isinstance(error, LATE))


def _explain_not_sent(error: Exception) -> NotSent:
    if isinstance(error, WanConfigurationError):
        return NotSent(f"{error}".rstrip("."), transient=False)
    refused = find_cause(error, ssl.SSLCertVerificationError)
    if refused is not None:
        return NotSent(f"its certificate was not accepted ({refused.verify_message})", transient=False)
    if find_cause(error, RefusedAddressError) is not None:
        return NotSent("its address is not allowed", transient=False)
    if isinstance(error, INVALID):
        return NotSent("its address is not valid", transient=False)
    alert = _find_alert(error)
    if alert:
        return NotSent(f"no TLS connection could be made ({alert})")
    # Anything else happens on this machine: no thread, no memory, no file left.
    return NotSent(NOT_SENT_REASONS.get(type(error), f"no connection could be set up ({type(error).__name__})"))


def _explain_loss(error: Exception, progress: _Progress) -> str:
    if isinstance(error, _TooLargeError):
        return f"the answer is larger than {progress.cap // 2**20} MiB"
    alert = _find_alert(error)
    return f"the TLS connection broke ({alert})" if alert else LOST_REASONS.get(type(error), "the connection broke")


def _find_alert(error: Exception) -> str:
    """Return what TLS says of a failure, such as "tlsv13 alert certificate required", or ""."""
    failure = find_cause(error, ssl.SSLError)
    return (failure.reason or "").replace("_", " ").lower() if failure is not None else ""


INVALID = (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, httpx.InvalidURL, UnicodeError)
NOT_SENT_REASONS: dict[type[Exception], str] = {
    httpcore.ConnectError: "no connection could be made",
    httpcore.ConnectTimeout: f"connecting took longer than {CONNECT_TIMEOUT:g} s",
    httpcore.PoolTimeout: "no connection was free",
    httpcore.ProxyError: "the proxy refused the connection",
    httpcore.ReadTimeout: "the proxy did not answer in time",
    httpcore.ReadError: "the proxy closed the connection",
    httpcore.RemoteProtocolError: "the proxy did not answer as a proxy does",
}
LOST_REASONS: dict[type[Exception], str] = {
    httpcore.ReadTimeout: "it took too long",
    httpcore.WriteTimeout: "it took too long to send",
}

LATE = (httpcore.ReadTimeout, httpcore.WriteTimeout)

E = TypeVar("E", bound=BaseException)


def find_cause(error: BaseException | None, kind: type[E]) -> E | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _build_pool(route: Route, url: str, *, asynchronous: bool) -> Any:
    backend = AsyncBackend(route) if asynchronous else Backend(route)
    options: dict[str, Any] = {"network_backend": backend, "max_connections": 1, "max_keepalive_connections": 0}
    if url.startswith("https:"):
        options["ssl_context"] = tls_context()
    if route.proxy is None:
        kind: Any = httpcore.AsyncConnectionPool if asynchronous else httpcore.ConnectionPool
        return kind(**options)
    if route.proxy.url.startswith("https:"):
        options["proxy_ssl_context"] = tls_context()
    if route.proxy.authorization is not None:
        mark = route.credentials.add(route.proxy.authorization)
        options["proxy_headers"] = [("Proxy-Authorization", mark)]
    kind = httpcore.AsyncHTTPProxy if asynchronous else httpcore.HTTPProxy
    return kind(proxy_url=route.proxy.url, **options)


def _build_request(
    method: str, url: str, headers: Headers, body: bytes, trace: Callable[[str, Mapping[str, Any]], Any]
) -> httpcore.Request:
    target = _parse(url)
    lines: list[tuple[bytes | str, bytes | str]] = [("Host", target.netloc), *headers.items()]
    if body:
        lines.append(("Content-Length", str(len(body))))
    return httpcore.Request(
        method,
        httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path),
        headers=lines,
        content=body,
        extensions={"timeout": {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT}, "trace": trace},
    )


@lru_cache(maxsize=16)  # paid calls use the same URL each time
def _parse(url: str) -> httpx.URL:
    return httpx.URL(url)
