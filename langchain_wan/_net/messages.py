"""HTTP requests and what became of them, as values."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
GZIP_PIECE = 2**20  # bytes that are unpacked at once


@dataclass(frozen=True)
class WireRequest:
    """One HTTP request; the driver adds the origin and the key."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer that came whole; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class NotSent:
    """The request certainly did no work: no connection came about. `transient` says that it may work later."""

    reason: str
    transient: bool = True


@dataclass(frozen=True)
class Lost:
    """The request was sent, and no whole answer came.

    Attributes:
        stage: `"send"`, `"wait"` or `"read"`.
        received: What came before it broke; None where nothing did.
    """

    stage: str
    reason: str
    received: bytes | None = field(default=None, repr=False)


Outcome = Reply | NotSent | Lost


def decode_reply(status: int, headers: Mapping[str, str], body: bytes, cap: int) -> Outcome:
    """Return an answer that came whole, gzip decoded to at most `cap` bytes; other encodings can't be read."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return Reply(status, headers, body)
    problem = "an unknown encoding"
    if encoding in {"gzip", "x-gzip"}:
        try:
            # Measured before it is kept: a bomb is refused without ever being in memory.
            if any(size > cap for size in accumulate(map(len, _gunzipped(body)))):
                problem = "oversized gzip"
            else:
                return Reply(status, headers, b"".join(_gunzipped(body)))
        except (zlib.error, EOFError):
            problem = "broken gzip"
    return Lost("read", f"the answer can't be decoded: {problem}", body if status < 300 else None)  # noqa: PLR2004


def _gunzipped(body: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    rest = body
    while not decoder.eof:
        piece = decoder.decompress(rest, GZIP_PIECE)
        rest = decoder.unconsumed_tail
        if not piece and not rest and not decoder.eof:
            raise EOFError
        yield piece


@lru_cache(maxsize=1)  # read from the installed package when something is sent, not when it is imported
def user_agent() -> str:
    """Return the name and version by which a service knows this package."""
    return f"langchain-wan/{version('langchain-wan')}"
