"""A network that records what is looked up and dialled: nothing of it leaves this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

PUBLIC = "93.184.216.34"
PUBLIC_BY_NAT64 = "64:ff9b::5db8:d822"  # the same host, as a network without IPv4 sees it
METADATA = "169.254.169.254"
REBINDS = "rebinds.evil.com"
NAT64 = "nat64.public.com"


# What a resolver may answer; each takes a host that is not this machine's.
NAMES_THAT_RESOLVE: dict[str, list[list[str]]] = {
    "loopback.evil.com": [["127.0.0.1"]],
    "metadata.evil.com": [[METADATA]],
    "private.evil.com": [["10.0.0.1"]],
    "mixed.evil.com": [[PUBLIC, "127.0.0.1"]],
    "mixed-other-way.evil.com": [["192.168.1.1", PUBLIC]],
    "six.evil.com": [["::1"]],
    "mapped.evil.com": [["::ffff:127.0.0.1"]],
    "nat64.evil.com": [["64:ff9b::7f00:1"]],
    "nat64-metadata.evil.com": [["64:ff9b::a9fe:a9fe"]],
    "nat64-private.evil.com": [["64:ff9b::a00:1"]],
    "nat64-of-a-network.evil.com": [["64:ff9b:1::5db8:d822"]],
    "sixtofour.evil.com": [["2002:7f00:1::"]],
    "teredo.evil.com": [["2001:0:7f00:1::"]],
    "unique-local.evil.com": [["fd00:ec2::254"]],
    "link-local.evil.com": [["fe80::1"]],
    "zero.evil.com": [["0.0.0.0"]],  # noqa: S104  it is not bound, it is refused
    "azure.evil.com": [["168.63.129.16"]],
    "alibaba.evil.com": [["100.100.100.200"]],
    "127.0.0.1.nip.io": [["127.0.0.1"]],
    "localtest.me": [["127.0.0.1"]],
    "nowhere.evil.com": [[]],
}


HOSTILE_NAMES = [f"http://{name}/a.png" for name in NAMES_THAT_RESOLVE]


@dataclass
class Network:
    """What this process looked up and dialled; public addresses are led to a server on this machine."""

    server_port: int
    dialled: list[tuple[str, int]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)

    def forbidden(self) -> list[tuple[str, int]]:
        """Where a connection was tried that nobody may reach."""
        open_to_all = {(PUBLIC, 80), (PUBLIC_BY_NAT64, 80), ("127.0.0.1", self.server_port)}
        return [address for address in self.dialled if address not in open_to_all]


@contextmanager
def network(server_port: int) -> Iterator[Network]:
    """Answer every look-up from a table, and watch every connection."""
    seen = Network(server_port)
    real_connect: Callable[..., Any] = socket.socket.connect
    real_getaddrinfo = socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> Any:
        host, port = str(address[0]), int(address[1])
        seen.dialled.append((host, port))
        if (host, port) == (PUBLIC, 80):
            return real_connect(self, ("127.0.0.1", server_port))
        if (host, port) == (PUBLIC_BY_NAT64, 80):
            return _connect_by_ipv4(self, ("127.0.0.1", server_port))
        if (host, port) != ("127.0.0.1", server_port):
            raise ConnectionRefusedError("not in the tests")
        return real_connect(self, address)

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            pass
        else:
            return real_getaddrinfo(name, port, *args, **kwargs)
        seen.looked_up.append(name)
        addresses = _resolve(name, seen)
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        kind = socket.SOCK_STREAM
        return [
            (socket.AF_INET6, kind, 6, "", (address, int(port), 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 6, "", (address, int(port)))
            for address in addresses
        ]

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect, raising=False)
    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        yield seen
    finally:
        patch.undo()


def _connect_by_ipv4(connection: socket.socket, address: tuple[str, int]) -> None:
    """Connect an IPv6 socket to a server that only listens on IPv4, as a NAT64 gateway does."""
    with socket.create_connection(address) as translated:
        translated.settimeout(connection.gettimeout())
        os.dup2(translated.fileno(), connection.fileno())


def _resolve(name: str, seen: Network) -> list[str]:
    if name == REBINDS:  # public when it is checked, internal when it is asked again
        return [PUBLIC] if seen.looked_up.count(name) == 1 else ["127.0.0.1"]
    if name == NAT64:
        return [PUBLIC_BY_NAT64]
    return NAMES_THAT_RESOLVE.get(name, [[PUBLIC]] if name.endswith(("public.com", ".jp", ".de")) else [[]])[0]
