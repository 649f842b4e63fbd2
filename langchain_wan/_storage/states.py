"""The states of an operation: one table, from which the sets, the SQL and the documentation follow.

```
claimed --> sending --> paid --> done                  every image is stored
   |           |          '----> partial               billed, images missing: `resume` fetches them
   '-----------+--> refused                            certainly no work: the id is free again
               '--> uncertain --> charged | refused    by `resolve`
```
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["claimed", "sending", "paid", "done", "partial", "refused", "uncertain", "charged"]
Money = Literal["held", "counted", "released"]


@dataclass(frozen=True)
class StateRow:
    """What a state means.

    Attributes:
        money: What becomes of the money of the operation: held for it, counted as spent, or released.
        next_owner: Who goes on.
        is_running: Whether a process carries the operation out, as long as that process lives.
        is_open: Whether the operation is not resolved: something may still come, or be learned.
        after_death: What the state means once that process is dead; None where it means the same.
    """

    meaning: str
    money: Money
    next_owner: str
    is_running: bool = False
    is_open: bool = False
    after_death: State | None = None


STATES: dict[State, StateRow] = {
    "claimed": StateRow(
        "taken, nothing sent",
        "held",
        "anybody, once its owner is dead: nothing was sent",
        is_running=True,
        is_open=True,
        after_death="refused",
    ),
    "sending": StateRow(
        "written right before the request is sent",
        "held",
        "nobody: with a dead owner it is `uncertain`",
        is_running=True,
        is_open=True,
        after_death="uncertain",
    ),
    "paid": StateRow(
        "the answer is saved",
        "counted",
        "anybody, once its owner is dead: downloads cost nothing",
        is_running=True,
        is_open=True,
        after_death="partial",
    ),
    "done": StateRow("all images are stored", "counted", "-"),
    "partial": StateRow("some images are missing", "counted", "`resume`", is_open=True),
    "refused": StateRow("certainly not charged", "released", "the id is free"),
    "uncertain": StateRow("the outcome is unknown", "held", "`resolve`", is_open=True),
    "charged": StateRow("resolved as charged, with nothing to fetch", "counted", "nobody: a new try needs a new id"),
}

RUNNING_STATES = frozenset(state for state, row in STATES.items() if row.is_running)
OPEN_STATES = frozenset(state for state, row in STATES.items() if row.is_open)
# What may have been billed: an identical request waits until it is resolved.
UNRESOLVED_STATES = OPEN_STATES - {"claimed"}
RESUMABLE_STATES = frozenset(state for state in OPEN_STATES if STATES[state].money == "counted")


def sql_condition(states: Iterable[State]) -> str:
    """Return the condition that an operation is in one of these states, always in the same words.

    SQLite uses a partial index only where the words of a query are those of the index.
    """
    return f"state IN ({', '.join(repr(state) for state in STATES if state in states)})"


OPEN = sql_condition(OPEN_STATES)
