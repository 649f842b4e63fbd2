"""The images that the sandbox made, which clients download as from the object storage of the real service."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from langchain_wan.sandbox.answers import REQUEST_ID, Answer

MAX_STORED_BYTES = 512 * 1024 * 1024  # results in memory; beyond that the oldest are dropped


class _Result(NamedTuple):
    png: bytes
    expires_at: float
    signature: str


_MISSING = _Result(b"", math.inf, "")


class Results:
    """Images in memory, each under a path with a signature that expires."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._results: dict[str, _Result] = {}

    def add(self, png: bytes) -> str:
        """Store an image, and return the path and the query of its URL."""
        path = f"/images/{secrets.token_hex(16)}.png"
        result = _Result(png, time.time() + self._ttl, secrets.token_urlsafe())
        self._results[path] = result
        while sum(len(stored.png) for stored in self._results.values()) > MAX_STORED_BYTES:
            del self._results[next(iter(self._results))]
        return f"{path}?{urlencode({'Expires': math.ceil(result.expires_at), 'Signature': result.signature})}"

    def is_signed(self, path: str, query: Mapping[str, str]) -> bool:
        """Say whether a download has the signature of a result that is here."""
        signature = self._results.get(path, _MISSING).signature
        return signature != "" and secrets.compare_digest(query.get("Signature", "").encode(), signature.encode())

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Answer a download as the object storage upstream does."""
        png, expires_at, _ = self._results.get(path, _MISSING)
        if not png:
            return _build_error(404, "NoSuchKey", "The specified key does not exist.")
        if not self.is_signed(path, query):
            return _build_error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
        if time.time() >= expires_at:
            return _build_error(403, "AccessDenied", "Request has expired.")
        return Answer(png, kind="image/png")


def _build_error(status: int, code: str, message: str) -> Answer:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{REQUEST_ID}</RequestId></Error>"
    return Answer(f'<?xml version="1.0" encoding="UTF-8"?>{error}', status, "application/xml")
