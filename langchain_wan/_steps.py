"""What a flow is made of: the steps that it yields, and the job that it carries out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from langchain_wan._wire import Outcome, WireRequest
from langchain_wan.models import ImageRequest, WanEvent
from langchain_wan.store import ImageStore

if TYPE_CHECKING:
    from langchain_core.rate_limiters import BaseRateLimiter

    from langchain_wan._conversation import Conversation
    from langchain_wan.budget import Budget, Hold
    from langchain_wan.settings import Service, WanSettings

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
        each: Called with the place and the outcome of each download as soon as it is there.
        results: Whether these are results of the service, whose rules differ from a caller's URLs.
    """

    urls: Sequence[str]
    timeout: float
    each: Callable[[int, Outcome], Any]
    results: bool = True


@dataclass(frozen=True)
class Sleep:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Acquire:
    """Wait for the rate limiter, or where `limiter` is None for one of the `max_concurrency` places."""

    limiter: BaseRateLimiter | None = None


@dataclass(frozen=True)
class Release:
    """Give the place back."""


@dataclass(frozen=True)
class Work:
    """Do something heavy or blocking; the outcome is what the function returns."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Notify:
    """Tell whoever watches."""

    event: WanEvent


Step = Send | SendAll | Sleep | Acquire | Release | Work | Notify
Flow = Generator[Step, Any, T]


@dataclass(frozen=True)
class Call:
    """Who calls, as far as the flow needs it.

    Attributes:
        scope: Whose names count; `""` is code, which knows all.
        operation_id: Derived from the conversation; None means the request's own, or a new one.
        turn: Which message of a person the call answers.
        by_model: Whether a language model named the images.
        shared: Whether strangers may have the same scope: what one of them paid is not given to another.
        conversation: What images are called in the conversation; None where there is none.
        runtime: What a budget function is called with.
    """

    scope: str = ""
    operation_id: str | None = None
    tool_call_id: str | None = None
    turn: str = ""
    by_model: bool = False
    shared: bool = False
    conversation: Conversation | None = None
    runtime: Any = None


@dataclass
class Job:
    """One generation under way; `clock` is monotonic seconds."""

    request: ImageRequest
    settings: WanSettings
    service: Service
    call: Call
    clock: Callable[[], float]
    operation_id: str = ""
    model: str = ""
    price: Decimal = Decimal(0)
    began: float = 0.0
    budget: Budget | None = None
    hold: Hold | None = None
    state: Literal["new", "claimed", "sent", "paid", "given_up"] = "new"
    parents: list[str] = field(default_factory=list)
    all_stored: bool = True

    @property
    def store(self) -> ImageStore:
        """The store, as the caller's scope sees it."""
        store = self.settings.store
        return store.scoped(self.call.scope) if self.call.scope else store

    @property
    def scope(self) -> str:
        """Whose call it is: the caller's scope, or that of the view that was given as the store."""
        return self.store.scope

    @property
    def max_cost(self) -> Decimal:
        """Dollars that the call may cost."""
        return self.price * self.request.n

    @property
    def raw_name(self) -> str:
        """Under which name the raw answer is kept."""
        return f"{self.service.base_url} {self.operation_id}"

    def notify(self, stage: str, **details: Any) -> Notify:
        """Return the step that tells of a stage."""
        event = {
            "type": "wan_image",
            "stage": stage,
            "operation_id": self.operation_id,
            "tool_call_id": self.call.tool_call_id,
            "elapsed_s": round(self.clock() - self.began, 3),
            **details,
        }
        return Notify(cast("WanEvent", event))
