"""One call under way: who calls, and what it has done so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_wan._call.states import Reached
from langchain_wan._call.steps import Notify
from langchain_wan._storage.ledger import Ledger
from langchain_wan._storage.money import EXACT
from langchain_wan._storage.storage import Storage
from langchain_wan.models import WanEvent
from langchain_wan.requests import ImageRequest

if TYPE_CHECKING:
    from langchain_wan._call.names import ImageNames
    from langchain_wan._net.endpoint import Endpoint
    from langchain_wan._storage.operations import Operation
    from langchain_wan.budget import Budget, Reservation
    from langchain_wan.settings import WanSettings


@dataclass(frozen=True)
class Call:
    """Who calls, as far as the flow needs it.

    Attributes:
        scope: Whose image references count; `""` is code, which knows all.
        operation_id: Derived from the conversation; None means the request's own, or a new one.
        turn: Which human message the call answers.
        by_model: Whether a language model named the images.
        asked_by: The message and its tool call that ask for it; empty where they are not known.
        is_repeat_of: Whether the call counts as a repeat of an unresolved operation with an identical request.
        shared: Whether strangers may have the same scope: what one of them paid for is not given to another.
        conversation: What images are called in the conversation; None where there is none.
        runtime: What a budget function is called with.
    """

    scope: str = ""
    operation_id: str | None = None
    asked_by: Sequence[str] = ()
    is_repeat_of: Callable[[Operation], bool] = lambda operation: True  # noqa: ARG005  its name is part of the signature
    tool_call_id: str | None = None
    turn: str = ""
    by_model: bool = False
    shared: bool = False
    conversation: ImageNames | None = None
    runtime: Any = None


@dataclass
class Job:
    """One generation under way.

    Attributes:
        clock: Monotonic seconds.
        price: Dollars an image.
        reached: How far it came; `"ended"` when its end is written down.
        inputs: The marks of its input images, by which an answer that repeats one is known.
        adjustments: What was changed about the input images, as sentences.
        all_stored: Whether each image that came is in the store, and not in memory only.
        later: Images of the answer, by index, that another set-up could fetch: a refused address, a missing decoder.
    """

    request: ImageRequest
    settings: WanSettings
    endpoint: Endpoint
    call: Call
    clock: Callable[[], float]
    operation_id: str = ""
    model: str = ""
    price: Decimal = Decimal(0)
    began: float = 0.0
    budget: Budget | None = None
    reservation: Reservation | None = None
    reached: Literal["new", "ended"] | Reached = "new"
    parents: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    adjustments: list[str] = field(default_factory=list)
    all_stored: bool = True
    later: set[int] = field(default_factory=set)

    @property
    def storage(self) -> Storage:
        """What is behind the store, as the caller's scope sees it."""
        storage = self.settings.store._storage
        return storage.scoped(self.call.scope) if self.call.scope else storage

    @property
    def ledger(self) -> Ledger:
        """The operations of the store."""
        return self.storage.ledger

    @property
    def key(self) -> tuple[str, str]:
        """The service and the id, which name the operation in the ledger."""
        return self.endpoint.base_url, self.operation_id

    @property
    def scope(self) -> str:
        """Whose call it is: the caller's scope, or that of the view that was given as the store."""
        return self.storage.scope

    @property
    def max_cost(self) -> Decimal:
        """Dollars that the call may cost."""
        return self.cost(self.request.n)

    def cost(self, images: int) -> Decimal:
        """Return the dollars that so many images cost."""
        return EXACT.multiply(self.price, Decimal(images))

    @property
    def raw_name(self) -> str:
        """The name under which the raw answer is kept."""
        return f"{self.endpoint.base_url} {self.operation_id}"

    def notify(self, stage: str, **details: Any) -> Notify:
        """Return the step that reports a stage."""
        return Notify(self.build_event(stage, **details))

    def build_event(self, stage: str, **details: Any) -> WanEvent:
        """Return what a watcher is told of a stage."""
        event = {
            "type": "wan_image",
            "stage": stage,
            "operation_id": self.operation_id,
            "tool_call_id": self.call.tool_call_id,
            "elapsed_s": round(self.clock() - self.began, 3),
            **details,
        }
        return cast("WanEvent", event)
