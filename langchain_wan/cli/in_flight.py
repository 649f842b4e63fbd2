"""What Ctrl-C says of the calls that are in flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from langchain_wan._storage.money import to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan.cli.calls import AbandonedError
from langchain_wan.cli.output import err
from langchain_wan.cli.shell_advice import to_shell_advice
from langchain_wan.client import WanClient
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    RESUME_LATER,
    PaidButNotRetrievedError,
    PaymentUncertainError,
    WanError,
)


def print_waiting(calls: str) -> None:
    """Say what a first Ctrl-C waits for."""
    err.print(f"Waiting for {calls}: what was sent is billed. Press Ctrl-C again to abandon it.")


def print_abandoned(
    client: WanClient,
    abandoned: AbandonedError,
    folder: Path,
    name: Callable[[Sequence[int]], str],
    *,
    steps_follow: bool = False,
) -> dict[int, WanError]:
    """Say what becomes of each call that a second Ctrl-C abandoned; return the errors of those that were sent.

    Args:
        client: It made the calls.
        abandoned: Which calls are in flight.
        folder: The store.
        name: Returns what calls are named, by their indexes.
        steps_follow: Whether the commands that settle uncertain calls are printed afterwards.
    """
    service, ledger = client.endpoint().base_url, client.store._storage.ledger
    errors = dict[int, WanError]()
    for index, operation_id in sorted(abandoned.in_flight.items()):
        error = _build_error(ledger.operation(service, operation_id))
        text = "It was not sent. Nothing was charged." if error is None else to_shell_advice(str(error), folder)
        if steps_follow and isinstance(error, PaymentUncertainError):
            text = f"{error.what} {error.money()}"
        named = f"{name([index])}, {operation_id}" if operation_id else name([index])
        err.print(f"Abandoned {named}: {text}")
        if error is not None:
            errors[index] = error
    return errors


def _build_error(operation: Operation | None) -> WanError | None:
    """Return the error of a call that is left as it is; None if it was not sent."""
    if operation is None or operation.state in {"claimed", "refused"}:
        return None
    is_answered = operation.state not in {"sending", "uncertain"}
    kind: type[WanError] = PaidButNotRetrievedError if is_answered else PaymentUncertainError
    return kind(
        "Its answer is saved." if is_answered else "It was sent.",
        next_step=RESUME_LATER if is_answered else BLOCKED_UNTIL_SETTLED,
        operation_id=operation.id,
        max_cost_usd=to_usd(operation.cost_nano or operation.max_nano),
    )
