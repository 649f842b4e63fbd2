"""Which URLs and addresses may be named or dialled: rules on text and on IP addresses, without any I/O.

The text rules are strict, so that no two parsers can read one URL differently. The address table is our own:
`ipaddress.is_global` changes between patch releases and misses transition forms that reach internal hosts.
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
_NO_PART_OF_A_URL = re.compile("[\x00-\x20\x7f-\x9f\ud800-\udfff]")  # controls, blanks, lone surrogates
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_INTERNAL_SUFFIXES = (
    *("localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa"),
    *("svc", "cluster.local", "test", "invalid", "example", "onion", "arpa"),
)
_INTERNAL_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data", "kubernetes.default"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# https://www.iana.org/assignments/iana-ipv4-special-registry (2026-10) and cloud services on public-looking addresses
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's WireServer
    )
)
# Everything outside 2000::/3 is refused; these parts of it too. 6to4 and Teredo can carry internal addresses.
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
    """A URL or an address may not be used; the text is for logs, not for a model."""


@dataclass(frozen=True)
class Target:
    """What a URL names: scheme, host in lower-case ASCII, port."""

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
        networks: Internal networks that may be reached. With any, names and ports are free here: `check_dial` judges
            what they mean when it is dialled.

    Raises:
        RefusedAddressError: It is no plain http(s) URL of a public host.
    """
    if len(url) > MAX_URL or _NO_PART_OF_A_URL.search(url) is not None:
        raise RefusedAddressError("not a plain URL")
    match = _URL.fullmatch(url)
    if match is None:
        raise RefusedAddressError("not a plain http(s) URL")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    if scheme == "http" and not allow_http:
        raise RefusedAddressError("plain http is not allowed")
    port = int(match["port"]) if match["port"] else PORTS[scheme]
    if (host, port) in allowed:
        return Target(scheme, host, port)
    if port > MAX_PORT or (port not in PORTS.values() and not networks):
        raise RefusedAddressError("only the ports 80 and 443 are allowed")
    if host.startswith("["):
        try:
            check_address(ipaddress.IPv6Address(host[1:-1]), allowed=networks)
        except ipaddress.AddressValueError:
            raise RefusedAddressError("not an IP address") from None
        return Target(scheme, host[1:-1], port)
    return Target(scheme, _public_name(host, networks), port)


def is_well_formed(text: str) -> bool:
    """Say whether text can be encoded and written down: a lone surrogate, which JSON can hold, can't."""
    return _SURROGATE.search(text) is None


def check_dial(address: _Address, port: int, *, allowed: tuple[Network, ...] = ()) -> None:
    """Refuse to dial an address that is not public, or a port of a public address that web servers do not use.

    Raises:
        RefusedAddressError: It may not be dialled.
    """
    check_address(address, allowed=allowed)
    if port not in PORTS.values() and not _is_allowed(address, allowed):
        raise RefusedAddressError("only the ports 80 and 443 are allowed")


def check_address(address: _Address, *, allowed: tuple[Network, ...] = ()) -> None:
    """Refuse an address that is not public.

    Args:
        allowed: Networks that are allowed nevertheless.

    Raises:
        RefusedAddressError: The address is internal, special, or a form that can carry an internal one.
    """
    if not _is_allowed(address, allowed) and not _is_public(_translate(address)):
        raise RefusedAddressError("not a public address")


def _is_allowed(address: _Address, networks: tuple[Network, ...]) -> bool:
    # An IPv4 network keeps its meaning where it is reached through NAT64.
    return any(form in network for network in networks for form in (address, _translate(address)))


def _translate(address: _Address) -> _Address:
    """Return the IPv4 address that a NAT64 gateway dials for an address, else the address itself."""
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
    # ISATAP: an interface id of 0000:5efe or 0200:5efe before the IPv4 address.
    return (int(address) >> 32) & 0xFFFF_FFFF in {0x0000_5EFE, 0x0200_5EFE}


def _public_name(host: str, networks: tuple[Network, ...]) -> str:
    import idna  # the same rules (IDNA 2008) as the HTTP client's: Python's own read some names differently

    try:
        name = host if host.isascii() else idna.encode(host).decode()
    except UnicodeError:
        raise RefusedAddressError("not a host name") from None
    name = name.lower().rstrip(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004  RFC 1035
        raise RefusedAddressError("not a host name")
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        # Only the plain dotted form: libc also reads 127.1, 2130706433, 0x7f000001 and 0177.0.0.1.
        try:
            check_address(ipaddress.IPv4Address(name), allowed=networks)
        except ipaddress.AddressValueError:
            raise RefusedAddressError("not an IP address in its plain form") from None
        return name
    internal = any(name == suffix or name.endswith(f".{suffix}") for suffix in _INTERNAL_SUFFIXES)
    if not networks and (internal or name in _INTERNAL_NAMES or len(labels) == 1):
        raise RefusedAddressError("an internal name")
    return name
