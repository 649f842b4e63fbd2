"""How a call ends: one pure function from how far it came and what went wrong."""

from __future__ import annotations

from typing import Literal, NamedTuple

from langchain_wan._storage.states import STATES, Money, State
from langchain_wan.errors import Charged, NotSentError, StatusError, WanError

__all__ = ["STATES", "Ending", "Reached", "ending"]

Reached = Literal["claimed", "sending", "paid"]


class Ending(NamedTuple):
    """What is written down of a call that ended without a result."""

    state: State
    money: Money
    charged: Charged


def ending(reached: Reached, error: WanError | None) -> Ending:
    """Return how a call ends: money is released only if the request certainly did no work.

    Args:
        reached: How far it came.
        error: What went wrong; None means that it was interrupted.
    """
    if reached == "paid":
        return Ending("partial", "counted", "yes")
    if reached == "claimed" or isinstance(error, StatusError | NotSentError):
        return Ending("refused", "released", "no")
    return Ending("uncertain", "held", "maybe")
