"""What a flow is made of: the steps that it yields."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_wan._net.messages import Outcome, WireRequest
from langchain_wan.models import WanEvent

if TYPE_CHECKING:
    from langchain_core.rate_limiters import BaseRateLimiter


T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send a paid request; the outcome is an `Outcome`. `timeout` in seconds, from now to the end of the answer."""

    request: WireRequest
    timeout: float


@dataclass(frozen=True)
class SendAll:
    """Download URLs at once; the outcome is a list of what `each` returned, in order.

    Attributes:
        each: Called with the index and the outcome of each download as soon as it is there.
        results: Whether these are results of the service, whose rules differ from a caller's URLs.
    """

    urls: Sequence[str] = field(repr=False)
    timeout: float
    each: Callable[[int, Outcome], Any]
    results: bool = True


@dataclass(frozen=True)
class Sleep:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Acquire:
    """Wait for the rate limiter, or where `limiter` is None for one of the `max_concurrency` permits."""

    limiter: BaseRateLimiter | None = None


@dataclass(frozen=True)
class Release:
    """Give the permit back."""


@dataclass(frozen=True)
class Work:
    """Do something heavy or blocking; the outcome is what the function returns.

    Attributes:
        with_images: Whether it decodes or encodes images, which may take seconds.
    """

    function: Callable[[], Any]
    with_images: bool = False


@dataclass(frozen=True)
class Notify:
    """Report an event to whoever watches."""

    event: WanEvent


Step = Send | SendAll | Sleep | Acquire | Release | Work | Notify
Flow = Generator[Step, Any, T]
