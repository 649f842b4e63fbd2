"""What a person has to settle, and the commands that do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from langchain_wan._text.amounts import format_usd
from langchain_wan.cli.output import err
from langchain_wan.cli.shell_advice import name_resolve
from langchain_wan.client import WanClient
from langchain_wan.history import HistoryEntry
from langchain_wan.settings import WanSettings
from langchain_wan.store import WanStore

RUN_AGAIN = "Then run the same command again."


def find_unresolved(store: WanStore) -> list[HistoryEntry]:
    """Return the operations of a store that are uncertain or miss images, the newest first.

    Those of a sandbox are left out, since they cost nothing; unless the command is set to use that very sandbox, which
    then stands in for the service.
    """
    service, _ = WanSettings(store=store)._read_address()
    return [entry for entry in store.unfinished() if entry.service == service or not entry.is_sandbox]


def describe(entry: HistoryEntry) -> str:
    """Return an operation in one line: its id, its state, its cost and its prompt."""
    return f"{entry.operation_id} is {entry.state}, {format_usd(entry.cost_usd)}: {' '.join(entry.prompt.split())[:60]}"


def is_own_sandbox(client: WanClient) -> bool:
    """Say whether the command runs the sandbox itself: afterwards it is gone, and nothing of it needs to be settled."""
    endpoint = client.endpoint()
    return endpoint.is_sandbox and endpoint.base_url != WanSettings(store=client.store)._read_address()[0]


def find_uncertain(entries: Iterable[HistoryEntry]) -> list[str]:
    """Return the ids of the uncertain operations among these."""
    return [entry.operation_id for entry in entries if entry.state == "uncertain"]


def print_steps_to_settle(operations: Sequence[str], folder: Path, then: str = "") -> None:
    """Print the commands that settle uncertain operations; nothing where there are none.

    Args:
        operations: Their ids.
        folder: The store.
        then: What to do afterwards, as a sentence.
    """
    if len(operations) == 1:
        err.print(f"Check the account, then settle the call: {_name_steps(operations[0], folder)}. {then}".rstrip())
    elif operations:
        steps = f"{_name_steps('--all', folder)}. To settle one, put its id in place of --all."
        err.print(f"Check the account, then settle the {len(operations)} calls: {steps} {then}".rstrip())


def _name_steps(operation: str, folder: Path) -> str:
    return f"{name_resolve(operation, 'not-charged', folder)} or {name_resolve(operation, 'charged', folder)}"
