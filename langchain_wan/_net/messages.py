"""HTTP requests and their outcomes, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version


@dataclass(frozen=True)
class WireRequest:
    """One HTTP request; the driver adds the origin and the key."""

    method: str
    path: str
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Reply:
    """A complete HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class NotSent:
    """The request was certainly not processed: the connection failed.

    Attributes:
        reason: Why, as the end of a sentence.
        transient: Whether the same request may succeed later.
    """

    reason: str
    transient: bool = True


@dataclass(frozen=True)
class Lost:
    """The request was sent, and the answer is missing or incomplete.

    Attributes:
        stage: Where it failed: `"send"`, `"wait"` or `"read"`.
        reason: Why, as the end of a sentence.
        received: The part of a billed answer that arrived; None if nothing did.
        is_late: Whether the deadline ended it.
    """

    stage: str
    reason: str
    received: bytes | None = field(default=None, repr=False)
    is_late: bool = False


Outcome = Reply | NotSent | Lost


LARGE = 2**16  # bytes; reading more than this holds an event loop noticeably


def is_large(outcome: Outcome) -> bool:
    """Say whether an outcome is so large that an event loop leaves it to a thread."""
    body = outcome.body if isinstance(outcome, Reply) else outcome.received if isinstance(outcome, Lost) else None
    return body is not None and len(body) > LARGE


def is_success(status: int) -> bool:
    """Say whether an HTTP status is in the 2xx range."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


@lru_cache(maxsize=1)  # reading the metadata of the package is slow: not when it is imported
def user_agent() -> str:
    """Return the name and version that this package tells a server."""
    return f"langchain-wan/{version('langchain-wan')}"
