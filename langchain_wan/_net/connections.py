"""Connections with one deadline for everything, and to allowed addresses only.

httpx has timeouts for each chunk, not for a whole request, and checks no address. Both are done here, in `httpcore`
network backends: they resolve a name once, check every address, connect to one of those, and give each read and
write the time that is left until the deadline. Importing this module imports httpcore, so it is imported when a call
is made.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpcore

from langchain_wan._net.addresses import Network, RefusedAddressError, check_dial
from langchain_wan._net.credentials import Credentials
from langchain_wan._net.proxy import Proxy
from langchain_wan._net.resolver import aresolve, resolve

SocketOptions: TypeAlias = Iterable[Any] | None
WRITE_SLICE = (
    2**16
)  # bytes; httpcore gives each part of a large write the whole timeout, and an event loop is held by one


@dataclass(frozen=True)
class Route:
    """How a request may travel.

    Attributes:
        deadline: Monotonic time at which everything ends.
        public_only: Whether internal addresses are refused.
        allowed: Networks that are allowed although they are internal.
        proxy: A proxy, which then resolves names itself; None means a direct connection.
        credentials: The secrets whose marks stand in the headers of the request.
    """

    deadline: float
    public_only: bool = False
    allowed: tuple[Network, ...] = ()
    proxy: Proxy | None = None
    credentials: Credentials = field(default_factory=Credentials, repr=False)

    def limit(self, timeout: float | None, error_type: type[Exception]) -> float:
        """Return a timeout that ends at the deadline at the latest.

        Raises:
            Exception: Of the type `error_type`, if the deadline has passed.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error_type("the deadline has passed")
        return left if timeout is None else min(left, timeout)

    def check(self, resolved: list[Any]) -> list[str]:
        """Return the addresses that a name resolved to, if every one of them is allowed.

        Raises:
            httpcore.ConnectError: One of them is not.
        """
        ports = {str(entry[4][0]): int(entry[4][1]) for entry in resolved}
        if self.public_only and self.proxy is None:  # a proxy resolves the name itself
            for address, port in ports.items():
                try:
                    check_dial(ipaddress.ip_address(address), port, allowed=self.allowed)
                except RefusedAddressError as error:
                    raise httpcore.ConnectError(str(error)) from error
        return list(ports)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, route: Route) -> None:
        self._stream, self._route = stream, route

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._route.limit(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        buffer = self._route.credentials.insert(buffer)
        for start in range(0, len(buffer), WRITE_SLICE):
            left = self._route.limit(timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + WRITE_SLICE], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._route.limit(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._route)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, route: Route) -> None:
        self._stream, self._route = stream, route

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, self._route.limit(timeout, httpcore.ReadTimeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        buffer = self._route.credentials.insert(buffer)
        for start in range(0, len(buffer), WRITE_SLICE):
            left = self._route.limit(timeout, httpcore.WriteTimeout)
            await self._stream.write(buffer[start : start + WRITE_SLICE], left)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        left = self._route.limit(timeout, httpcore.ConnectTimeout)
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, left), self._route)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Opens connections for one request, by its route."""

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
        left = self._route.limit(timeout, httpcore.ConnectTimeout)
        addresses = self._route.check(resolve(host, port, left))
        last: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            left = self._route.limit(timeout, httpcore.ConnectTimeout)
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _Stream(stream, self._route)
        raise last


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens connections for one request, by its route, without blocking the event loop."""

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
        left = self._route.limit(timeout, httpcore.ConnectTimeout)
        addresses = self._route.check(await aresolve(host, port, left))
        last: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses:
            left = self._route.limit(timeout, httpcore.ConnectTimeout)
            try:
                stream = await httpcore.AnyIOBackend().connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _AsyncStream(stream, self._route)
        raise last
