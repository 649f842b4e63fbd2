"""Where a paid request goes, and with which key."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from langchain_wan.errors import WanConfigurationError


@dataclass(frozen=True)
class Endpoint:
    """Where a call goes and with which key: the settings of this moment.

    Attributes:
        base_url: Without a slash at its end; also the service's name in the ledger.
        loopback: Host and port of a service on this machine, else None.
    """

    base_url: str
    api_key: SecretStr
    loopback: tuple[str, int] | None


def parse_base_url(text: str) -> tuple[str, tuple[str, int] | None]:
    problem = WanConfigurationError("base_url must be https://host[:port][/path], or http:// to this machine.")
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem from None
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and "@" not in parts.netloc
    if not host or not plain or parts.scheme not in {"http", "https"} or any(char in text for char in "\\ \t\r\n"):
        raise problem
    loopback = _is_loopback(host)
    if parts.scheme == "http" and not loopback:
        raise problem  # the key would travel in clear text
    base_url = f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
    default_port = 443 if parts.scheme == "https" else 80
    return base_url, (host, port or default_port) if loopback else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
