"""What a person has to settle, and the commands that do it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langchain_wan.cli.output import err
from langchain_wan.cli.shell_advice import name_resolve
from langchain_wan.history import HistoryEntry
from langchain_wan.settings import WanSettings
from langchain_wan.store import WanStore

MOST_COMMANDS = 3  # beyond that, only the command that settles all is printed


def find_unresolved(store: WanStore) -> list[HistoryEntry]:
    """Return the operations of a store that are uncertain or miss images, the newest first.

    Those of a sandbox are left out, since they cost nothing; unless the command is set to use that very sandbox, which
    then stands in for the service.
    """
    service, _ = WanSettings(store=store)._read_address()
    return [entry for entry in store.unfinished() if entry.service == service or not entry.is_sandbox]


def describe(entry: HistoryEntry) -> str:
    """Return an operation in one line: its id, its state, its cost and its prompt."""
    return f"{entry.operation_id} is {entry.state}, ${entry.cost_usd:f}: {' '.join(entry.prompt.split())[:60]}"


def print_steps_to_settle(entries: Iterable[HistoryEntry], folder: Path) -> None:
    """Print the commands that settle uncertain operations; nothing where there are none."""
    uncertain = [entry.operation_id for entry in entries if entry.state == "uncertain"]
    several = len(uncertain) > 1
    for operation in uncertain if len(uncertain) <= MOST_COMMANDS else []:
        _print_step(f"Settle {operation}" if several else "Check the account, then settle the call", operation, folder)
    if several:
        _print_step(f"Check the account, then settle all {len(uncertain)} calls", "--all", folder)


def _print_step(text: str, operation: str, folder: Path) -> None:
    not_charged = name_resolve(operation, "not-charged", folder)
    err.print(f"{text}: {not_charged} or {name_resolve(operation, 'charged', folder)}.")
