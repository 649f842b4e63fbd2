"""The values of the ledger: what is claimed, what is recorded, and the limits that are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_wan._storage.states import State


@dataclass(frozen=True)
class Limit:
    """A named budget as the ledger checks it: None means no limit of that kind; `window` in seconds."""

    name: str
    max_nano: int | None = None
    max_images: int | None = None
    window: float | None = None


@dataclass(frozen=True)
class Claim:
    """What is written before a request is sent.

    Attributes:
        service: Which service answers; the sandbox never answers for the real one.
        fingerprint: Identical requests have the same.
        turn: Which human message the call answers; empty outside a conversation.
        named_by_caller: The id was chosen by the caller, so an identical request under another id may go ahead.
        is_repeat_of: Says whether the claim counts as a repeat of an unresolved operation with an identical request.
        request: What `history` and `resume` show: model, prompt, n, size, inputs, metadata, if the sandbox answers.
    """

    service: str
    id: str
    scope: str
    fingerprint: str
    max_nano: int
    request: Mapping[str, Any]
    turn: str = ""
    named_by_caller: bool = False
    is_repeat_of: Callable[[Operation], bool] = lambda operation: True  # noqa: ARG005  its name is part of the signature
    limit: Limit | None = None


@dataclass(frozen=True)
class Operation:
    """One row of the ledger; `error` and `result` are JSON values, `owner` the process that began it."""

    service: str
    id: str
    scope: str
    fingerprint: str
    turn: str
    state: State
    owner: str
    max_nano: int
    cost_nano: int
    created_at: float
    request: dict[str, Any] = field(repr=False)
    error: dict[str, Any] | None = field(repr=False, default=None)
    result: dict[str, Any] | None = field(repr=False, default=None)

    @property
    def raw_name(self) -> str:
        """The name under which its raw answer is kept."""
        return f"{self.service} {self.id}"


@dataclass(frozen=True)
class ClaimResult:
    """How a claim went.

    Attributes:
        outcome: `"claimed"`, `"over_budget"`, `"taken"`, or `"identical"`: a request like it is unresolved.
        operation: The operation that is in the way.
    """

    outcome: Literal["claimed", "over_budget", "taken", "identical"]
    operation: Operation | None = None
