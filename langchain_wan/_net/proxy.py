"""The URL of a proxy: its password is as secret as the key."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from pydantic import SecretStr

from langchain_wan._net.addresses import MAX_PORT
from langchain_wan.errors import WanConfigurationError

_URL = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[!-~]*)@)?(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Proxy:
    """A proxy, and how to log in to it.

    Attributes:
        url: Without user and password.
        authorization: The value of `Proxy-Authorization`; None where the proxy asks for none.
    """

    url: str
    authorization: SecretStr | None = None


def parse_proxy(setting: SecretStr | str | None) -> Proxy | None:
    """Read the URL of a proxy; None stays None.

    Raises:
        WanConfigurationError: It is not such a URL. The text does not quote it: it may contain a password.
    """
    if setting is None:
        return None
    match = _match(SecretStr(setting) if isinstance(setting, str) else setting)
    del setting  # no report of local variables may show it
    if match is None:
        raise WanConfigurationError(
            "proxy must be http://host:port or https://host:port, with user:password@ before the host if the proxy "
            "asks for them (percent-encoded). Its value is not shown here, since it may contain a password."
        )
    return match


def _match(setting: SecretStr) -> Proxy | None:
    match = _URL.fullmatch(setting.get_secret_value())
    if match is None or int(match["port"] or 0) > MAX_PORT:
        return None
    port = f":{match['port']}" if match["port"] else ""
    return Proxy(f"{match['scheme']}://{match['host']}{port}".lower(), _authorize(match["user"]))


def _authorize(user: str | None) -> SecretStr | None:
    if user is None:
        return None
    name, _, password = user.partition(":")
    login = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return SecretStr(f"Basic {base64.b64encode(login).decode()}")
