"""The service that a paid request goes to: its base URL and the key."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from langchain_wan._net.proxy import Proxy
from langchain_wan.errors import WanConfigurationError


@dataclass(frozen=True)
class Endpoint:
    """The base URL and key of one call, read from the settings when it starts.

    Attributes:
        base_url: In its normal form; also the name of the service in the ledger.
        api_key: Sent to this base URL only.
        loopback: Host and port of the service if it runs on this machine, else None.
        is_sandbox: Whether the sandbox answers, which charges nothing.
        proxy: The way to the service; None means directly, as to each service on this machine: a proxy would read the
            key that http carries.
    """

    base_url: str
    api_key: SecretStr
    loopback: tuple[str, int] | None
    is_sandbox: bool = False
    proxy: Proxy | None = None


def parse_base_url(text: str) -> tuple[str, tuple[str, int] | None]:
    """Return the base URL in its normal form, and host and port if it names this machine.

    One service has one name: host in lower-case ASCII, no default port, no dot after the host, no slash at the end.

    Raises:
        WanConfigurationError: It is not such a URL, or would send the key unencrypted to another machine.
    """
    problem = WanConfigurationError(
        "base_url must be https://host[:port][/path]; http:// is allowed for this machine only."
    )
    try:
        parts = urlsplit(text.strip())
        host, port = _normalise_host(parts.hostname or ""), parts.port
    except ValueError:
        raise problem from None
    has_only_host_and_path = (
        not (parts.username or parts.password or parts.query or parts.fragment) and "@" not in parts.netloc
    )
    if (
        not host
        or not has_only_host_and_path
        or parts.scheme not in {"http", "https"}
        or any(char in text for char in "\\ \t\r\n")
    ):
        raise problem
    loopback = is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise problem  # the key would be sent unencrypted
    default_port = 443 if parts.scheme == "https" else 80
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port in {None, default_port} else f":{port}"
    base_url = f"{parts.scheme}://{shown_host}{shown_port}{parts.path.rstrip('/')}"
    return base_url, (host, port or default_port) if loopback else None


def _normalise_host(host: str) -> str:
    import idna  # as the HTTP client does (IDNA 2008): Python's own codec reads some names differently

    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return (host if host.isascii() else idna.encode(host).decode()).lower().rstrip(".")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
