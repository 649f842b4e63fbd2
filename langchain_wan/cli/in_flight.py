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
    client: WanClient, error: AbandonedError, folder: Path, name: Callable[[Sequence[int]], str]
) -> None:
    """Say what becomes of each call that a second Ctrl-C abandoned.

    Args:
        client: It made the calls.
        error: Which calls are in flight.
        folder: The store.
        name: Returns what calls are named, by their indexes.
    """
    service, ledger = client.endpoint().base_url, client.store._storage.ledger
    for index, operation_id in sorted(error.in_flight.items()):
        operation = ledger.operation(service, operation_id)
        text = to_shell_advice(_explain(operation), folder)
        named = f"{name([index])}, {operation_id}" if operation_id else name([index])
        err.print(f"Abandoned {named}: {text}")


def _explain(operation: Operation | None) -> str:
    if operation is None or operation.state in {"claimed", "refused"}:
        return "It was not sent. Nothing was charged."
    is_answered = operation.state not in {"sending", "uncertain"}
    kind: type[WanError] = PaidButNotRetrievedError if is_answered else PaymentUncertainError
    error = kind(
        "Its answer is saved." if is_answered else "It was sent.",
        next_step=RESUME_LATER if is_answered else BLOCKED_UNTIL_SETTLED,
        operation_id=operation.id,
        max_cost_usd=to_usd(operation.cost_nano or operation.max_nano),
    )
    return str(error)
