"""Secrets of one request: they appear nowhere before its bytes are written.

Headers stand in the local variables of every frame between here and the socket, also in frames of HTTP libraries, and
tools that report errors print those. So headers contain marks, and a connection replaces them as it writes.
"""

from __future__ import annotations

import secrets
from typing import Any

from pydantic import SecretStr


class SecretBytes(bytes):
    """Bytes that no report of local variables shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show the size only."""
        return f"<{len(self)} bytes>"

    def __getitem__(self, index: Any) -> Any:
        """Keep a part as secret as the whole: whatever a socket did not take is cut off and written again."""
        part = super().__getitem__(index)
        return SecretBytes(part) if isinstance(index, slice) else part


class Credentials:
    """The secrets of one request, each by the mark that stands for it in a header."""

    def __init__(self) -> None:
        self._secrets: dict[bytes, SecretStr] = {}

    def add(self, secret: SecretStr) -> str:
        """Return the mark for a secret."""
        mark = secrets.token_hex(16)
        self._secrets[mark.encode()] = secret
        return mark

    def insert(self, data: bytes) -> bytes:
        """Replace the marks in bytes that are about to be written, each mark once."""
        for mark in [mark for mark in self._secrets if mark in data]:
            data = SecretBytes(data.replace(mark, self._secrets.pop(mark).get_secret_value().encode()))
        return data
