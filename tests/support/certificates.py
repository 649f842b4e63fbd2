"""TLS on this machine: an authority, servers with its certificates, and processes that trust it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest


@cache
def authority() -> Any:
    import trustme

    return trustme.CA()


def tls(name: str, **kwargs: Any) -> Callable[[socket.socket], socket.socket]:
    """Let a server speak TLS, as the host of this name."""
    context = server_context(name, **kwargs)
    return lambda connection: context.wrap_socket(connection, server_side=True)


def server_context(name: str, **kwargs: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(name, **kwargs).configure_cert(context)
    return context


def trust_authority(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process trust the authority's certificates."""
    authority().cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
