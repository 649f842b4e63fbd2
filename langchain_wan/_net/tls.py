"""The TLS settings of all connections, read once."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path

from langchain_wan.errors import WanConfigurationError

# `httpx.create_ssl_context` reads the first two, Python's own `ssl` module the last.
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def tls_context() -> ssl.SSLContext:
    """Return the TLS settings of httpx, built once for each value of the variables that they depend on.

    Raises:
        WanConfigurationError: The certificates can't be read, or the log of TLS keys can't be written.
    """
    return _build_context(tuple((name, os.environ.get(name, "")) for name in VARIABLES))


@lru_cache(maxsize=2)
def _build_context(variables: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    import httpx

    values = dict(variables)
    folder = "" if values["SSL_CERT_FILE"] else values["SSL_CERT_DIR"]
    if folder and not Path(folder).is_dir():  # OpenSSL would trust nobody, and say nothing
        raise WanConfigurationError(f"SSL_CERT_DIR is not a folder: {folder}. Nothing was sent.")
    try:
        return httpx.create_ssl_context()
    except (OSError, ValueError) as error:  # an `SSLError` is an `OSError`
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        settings = ", ".join(f"{name}={value}" for name, value in variables if value)
        check = f" Check {settings}." if settings else ""
        raise WanConfigurationError(f"TLS can't be set up: {reason}.{check} Nothing was sent.") from error
