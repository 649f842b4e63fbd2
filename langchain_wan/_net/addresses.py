"""Which URLs and addresses may be used: rules for text and for IP addresses, without any I/O.

The rules for text are strict, so that no two parsers can read one URL differently. The address table is our own:
`ipaddress.is_global` changes between patch releases, and misses transition forms that reach internal hosts.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_URL = 4096
PORTS = {"http": 80, "https": 443}
MAX_PORT = 65535

_URL = re.compile(
    r"(?P<scheme>[hH][tT][tT][pP][sS]?)://(?P<host>\[[0-9a-fA-F:.]+\]|[^\s/?#@:\\\[\]%]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?#][^\s\\]*)?"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_IN_A_URL = re.compile("[\x00-\x20\x7f-\x9f\ud800-\udfff]")  # control characters, spaces, lone surrogates
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_INTERNAL_SUFFIXES = (
    *("localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa"),
    *("svc", "cluster.local", "test", "invalid", "example", "onion", "arpa"),
)
_INTERNAL_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "kubernetes.default"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# https://www.iana.org/assignments/iana-ipv4-special-registry (2026-10), and cloud services whose
# addresses look public
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's WireServer
    )
)
# Everything outside 2000::/3 is refused, and these parts of it. 6to4 and Teredo can carry internal addresses.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "3ffe::/16", "2620:4f:8000::/48")
)
# On a network without IPv4, every IPv4 host is reached through this well-known prefix, and the IPv4 address inside is
# what is dialled: https://www.rfc-editor.org/rfc/rfc6052, section 2.1 (2010-10). Prefixes of a network's own, such as
# 64:ff9b:1::/48 (https://www.rfc-editor.org/rfc/rfc8215, 2017-08), stay refused: they may lead to internal hosts.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedAddressError(ValueError):
    """A URL or an address may not be used. The text is for operators, not for a model."""


@dataclass(frozen=True)
class Target:
    """Where a URL leads: scheme, host in lower-case ASCII, and port."""

    scheme: str
    host: str
    port: int


def parse_target(
    url: str,
    *,
    allow_http: bool = True,
    allowed: frozenset[tuple[str, int]] = frozenset(),
    networks: tuple[Network, ...] = (),
) -> Target:
    """Read a URL by the strict rules.

    Args:
        allow_http: Whether plain http may be used.
        allowed: Hosts and ports that are allowed although they are internal: the sandbox that answered.
        networks: Internal networks that may be reached. If there are any, every name and port is accepted here, and
            `check_dial` checks the address behind it.

    Raises:
        RefusedAddressError: It is not a plain http(s) URL of a public host.
    """
    if len(url) > MAX_URL:
        raise RefusedAddressError(f"it is longer than {MAX_URL} characters")
    if _NOT_IN_A_URL.search(url) is not None:
        raise RefusedAddressError("it contains spaces or control characters")
    match = _URL.fullmatch(url)
    if match is None:
        raise RefusedAddressError("it is not a plain http(s) URL")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if scheme == "http" and not allow_http:
        raise RefusedAddressError("plain http is not allowed")
    port = int(match["port"]) if match["port"] else PORTS[scheme]
    if (host, port) in allowed:
        return Target(scheme, host, port)
    if port > MAX_PORT or (port not in PORTS.values() and not networks):
        raise RefusedAddressError("only ports 80 and 443 are allowed")
    if host.startswith("["):
        try:
            check_address(ipaddress.IPv6Address(host[1:-1]), allowed=networks)
        except ipaddress.AddressValueError:
            raise RefusedAddressError("its host is not an IP address") from None
        return Target(scheme, host[1:-1], port)
    return Target(scheme, _check_name(host, networks), port)


def is_loopback(url: str) -> bool:
    """Say whether a URL leads to this machine."""
    match = _URL.fullmatch(url)
    host = "" if match is None else match["host"].lower().strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_well_formed(text: str) -> bool:
    """Say whether text can be encoded as UTF-8: a lone surrogate, which JSON can contain, cannot."""
    return _SURROGATE.search(text) is None


def check_dial(address: _Address, port: int, *, allowed: tuple[Network, ...] = ()) -> None:
    """Refuse a connection to an address that is not public, or to a port of it that web servers do not use.

    Raises:
        RefusedAddressError: Nobody may connect to it.
    """
    check_address(address, allowed=allowed)
    if port not in PORTS.values() and not _is_allowed(address, allowed):
        raise RefusedAddressError("only ports 80 and 443 are allowed")


def check_address(address: _Address, *, allowed: tuple[Network, ...] = ()) -> None:
    """Refuse an address that is not public.

    Args:
        allowed: Networks that are allowed although they are internal.

    Raises:
        RefusedAddressError: It is internal, reserved, or of a form that can carry an internal address.
    """
    if not _is_allowed(address, allowed) and not _is_public(_translate(address)):
        raise RefusedAddressError("its address is not public")


def _is_allowed(address: _Address, networks: tuple[Network, ...]) -> bool:
    # An IPv4 network keeps its meaning where it is reached through NAT64.
    return any(form in network for network in networks for form in (address, _translate(address)))


def _translate(address: _Address) -> _Address:
    """Return the IPv4 address that a NAT64 gateway connects to for an address; any other address as it is."""
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64 and address.scope_id is None:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return (
        address.scope_id is None
        and address in _GLOBAL_V6
        and not any(address in network for network in _REFUSED_V6)
        and not _embeds_v4(address)
    )


def _embeds_v4(address: ipaddress.IPv6Address) -> bool:
    # ISATAP: the interface id 0000:5efe or 0200:5efe, followed by the IPv4 address.
    return (int(address) >> 32) & 0xFFFF_FFFF in {0x0000_5EFE, 0x0200_5EFE}


def _check_name(host: str, networks: tuple[Network, ...]) -> str:
    import idna  # as the HTTP client does (IDNA 2008): Python's own codec reads some names differently

    try:
        name = host if host.isascii() else idna.encode(host).decode()
    except UnicodeError:
        raise RefusedAddressError("its host name is not valid") from None
    name = name.lower().rstrip(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004  RFC 1035
        raise RefusedAddressError("its host name is not valid")
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        # libc also reads 127.1, 2130706433, 0x7f000001 and 0177.0.0.1; other parsers do not.
        try:
            check_address(ipaddress.IPv4Address(name), allowed=networks)
        except ipaddress.AddressValueError:
            raise RefusedAddressError("an IPv4 address must be written as four decimal numbers") from None
        return name
    internal = any(name == suffix or name.endswith(f".{suffix}") for suffix in _INTERNAL_SUFFIXES)
    if not networks and (internal or name in _INTERNAL_NAMES or len(labels) == 1):
        raise RefusedAddressError("its host name is internal")
    return name
