"""Identical calls that are asked for at once, in one batch or one message: so many images are wanted.

While a request is uncertain, an identical one is taken for its repeat and not sent. Siblings are not repeats of one
another, however one of them ended.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_wan._storage.operations import Operation


BATCH = "_batch"  # the argument with which `batch` tells its calls that they belong together


@dataclass(frozen=True)
class Identity:
    """Which paid call a call is.

    Attributes:
        operation_id: None where nothing tells one call from the next.
        asked_by: The message and its tool call that ask for it; empty where they are not known.
        is_repeat_of: Says whether the call counts as a repeat of an unresolved operation with an identical request.
    """

    operation_id: str | None = None
    asked_by: tuple[str, ...] = ()
    is_repeat_of: Callable[[Operation], bool] = lambda operation: True  # noqa: ARG005  its name is part of the signature


def identify_in_message(operation_id: str, message: str, tool_call_id: str) -> Identity:
    """Return the identity of a tool call that has an id of its own in a message: the others are its siblings."""

    def is_repeat_of(operation: Operation) -> bool:
        other, *tool_call = operation.request.get("asked_by") or [""]
        return other != message or tool_call == [tool_call_id]

    return Identity(operation_id, (message, tool_call_id), is_repeat_of)


@dataclass
class BatchOfCalls:
    """The calls of one batch. An identical call from before that is unresolved stops one of them: its repeat.

    Attributes:
        size: How many calls it may have.
        lock: For the time in which a call is counted and identified.
    """

    size: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    _own: set[str] = field(default_factory=set)
    _repeated: set[str] = field(default_factory=set)
    _first: dict[str, int] = field(default_factory=dict)

    def identify(self) -> Identity:
        """Return the identity of a call that only this batch knows."""
        operation_id = uuid.uuid4().hex
        self._own.add(operation_id)
        return Identity(operation_id, is_repeat_of=self._is_repeat_of)

    def identify_counted(self, call: str, number: int, name: Callable[[int], str]) -> Identity:
        """Return the identity of a call that is told from identical ones by their order.

        Args:
            call: The same for identical calls.
            number: How many of them were made before it, in this batch or before.
            name: Returns the operation id of the call with a number.
        """
        first = self._first.setdefault(call, number)

        def is_repeat_of(operation: Operation) -> bool:
            siblings = (name(other) for other in range(first, first + self.size))
            return operation.id not in siblings and self._is_repeat_of(operation)

        return Identity(name(number), is_repeat_of=is_repeat_of)

    def _is_repeat_of(self, operation: Operation) -> bool:
        # Asked in a transaction of the ledger: one call after the other.
        if operation.id in self._own or operation.id in self._repeated:
            return False
        self._repeated.add(operation.id)
        return True


def begin_batch(inputs: Sized, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of each call of a batch."""
    return {**kwargs, BATCH: BatchOfCalls(len(inputs))}
