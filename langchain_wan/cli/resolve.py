"""`langchain-wan resolve`: settle calls whose outcome is unknown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, open_store, report_errors
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_store
from langchain_wan.cli.unresolved import describe, find_unresolved
from langchain_wan.store import WanStore


def resolve(
    operation: Annotated[
        str | None, typer.Argument(metavar="ID", help="Operation id, as errors and `history` print it.")
    ] = None,
    charged: Annotated[
        bool | None, typer.Option("--charged/--not-charged", help="Outcome that the account shows.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Settle every uncertain call, after a question.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --all: settle without the question.")] = False,
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
) -> None:
    """Settle calls whose outcome is unknown."""
    if (operation is None) != everything:
        raise typer.BadParameter("Give one operation id, or --all.", param_hint="ID")
    if charged is None:
        raise typer.BadParameter("Say what the account shows.", param_hint="--charged or --not-charged")
    with report_errors(folder):
        store = open_store(folder)
        if operation is None:
            operations = _choose_all(store, charged=charged, yes=yes)
        else:
            operations = [operation]
            billed = {entry.operation_id for entry in store.unfinished() if entry.state == "partial"}
            charged = charged or operation in billed  # what is known to be billed stays so
        for operation_id in operations:
            _settle(store, operation_id, charged, folder)
    if operations:
        err.print(_describe_outcome(len(operations), charged))


def _choose_all(store: WanStore, *, charged: bool, yes: bool) -> list[str]:
    """Return the ids of all uncertain calls, after a person has seen them and said yes."""
    uncertain = [entry for entry in find_unresolved(store) if entry.state == "uncertain"]
    if not uncertain:
        err.print("There is nothing to settle.")
        return []
    for entry in uncertain:
        err.print(describe(entry))
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter(
                "Without a terminal to ask at, add --yes. Nothing was changed.", param_hint="--all"
            )
        outcome = "charged" if charged else "not charged"
        typer.confirm(f"Settle {len(uncertain)} as {outcome}?", abort=True, err=True)
    return [entry.operation_id for entry in uncertain]


def _settle(store: WanStore, operation_id: str, charged: bool, folder: Path) -> None:
    try:
        store.resolve(operation_id, "charged" if charged else "not_charged")
    except ValueError as error:
        step = f"`langchain-wan history{name_store(folder)}` lists what there is."
        raise typer.BadParameter(f"{error} {step}", param_hint="ID") from None


def _describe_outcome(number: int, charged: bool) -> str:
    calls = "1 call" if number == 1 else f"{number} calls"
    if charged:
        return f"Settled {calls} as charged. To pay for new images, repeat the prompt; a batch names the command."
    return f"Settled {calls} as not charged. To make the images, repeat the command that asked for them."
