"""The table of states, what follows from it, and how a call ends."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_wan import errors
from langchain_wan._call.states import Ending, ending
from langchain_wan._storage.migrations import STEPS
from langchain_wan._storage.states import (
    OPEN,
    OPEN_STATES,
    RESUMABLE_STATES,
    RUNNING_STATES,
    STATES,
    UNRESOLVED_STATES,
    sql_condition,
)

NOT_SENT = errors.NotSentError("No connection.")
REFUSED = errors.StatusError("No.", status_code=400)
LOST = errors.PaymentUncertainError("Silence.")
UNREADABLE = errors.UnreadableAnswerError("Nonsense.")
DISK = errors.StoreError("The disk is full.")


def test_the_sets_follow_from_the_table() -> None:
    assert {"claimed", "sending", "paid"} == RUNNING_STATES
    assert {"claimed", "sending", "paid", "partial", "uncertain"} == OPEN_STATES
    assert {"claimed"} == OPEN_STATES - UNRESOLVED_STATES
    assert {"paid", "partial"} == RESUMABLE_STATES
    assert {name for name, row in STATES.items() if row.money == "released"} == {"refused"}


def test_the_index_of_the_newest_format_has_the_words_of_the_queries() -> None:
    indexes = [statement for step in STEPS for statement in step if "INDEX operations_open" in statement]
    assert OPEN in indexes[-1]
    assert sql_condition({"uncertain", "paid"}) == "state IN ('paid', 'uncertain')"


@pytest.mark.parametrize(
    ("reached", "error", "expected"),
    [
        ("claimed", None, Ending("refused", "released", "no")),
        ("claimed", DISK, Ending("refused", "released", "no")),
        ("claimed", REFUSED, Ending("refused", "released", "no")),
        ("sending", NOT_SENT, Ending("refused", "released", "no")),
        ("sending", REFUSED, Ending("refused", "released", "no")),
        ("sending", None, Ending("uncertain", "held", "maybe")),
        ("sending", LOST, Ending("uncertain", "held", "maybe")),
        ("sending", UNREADABLE, Ending("uncertain", "held", "maybe")),
        ("sending", DISK, Ending("uncertain", "held", "maybe")),
        ("paid", None, Ending("partial", "counted", "yes")),
        ("paid", DISK, Ending("partial", "counted", "yes")),
    ],
)
def test_money_is_released_only_if_the_request_certainly_did_no_work(
    reached: Any, error: errors.WanError | None, expected: Ending
) -> None:
    assert ending(reached, error) == expected


def test_what_an_ending_says_of_money_is_what_the_table_says_of_its_state() -> None:
    for reached in RUNNING_STATES:
        for error in (None, NOT_SENT, REFUSED, LOST, UNREADABLE, DISK):
            end = ending(reached, error)  # type: ignore[arg-type]  # each running state is one that a call reaches
            assert STATES[end.state].money == end.money


@pytest.mark.parametrize(("charged", "money"), [("maybe", "It may have been charged ($"), ("yes", "It was charged ($")])
def test_the_text_of_an_error_follows_what_is_learned_of_the_money(charged: Any, money: str) -> None:
    from decimal import Decimal

    error = errors.PaidButNotRetrievedError("The disk is full.", charged="no", max_cost_usd=Decimal("0.03"))
    assert str(error) == "The disk is full. Nothing was charged."
    assert error.max_cost_usd is None
    error.charged = charged
    assert str(error) == f"The disk is full. {money}0.03)."
    assert error.args == (str(error),)
    error.operation_id = "op-1"
    assert str(error).endswith("Operation: op-1.")


def test_the_next_step_of_an_uncertain_call_names_the_operation_once() -> None:
    error = errors.PaymentUncertainError("Silence.", next_step=errors.BLOCKED_UNTIL_SETTLED, operation_id="op-1")
    assert str(error).count("store.resolve('op-1', 'not_charged')") == 1
    assert "Operation:" not in str(error)
