"""`langchain-wan resolve`: settle calls whose outcome is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import report_errors
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER
from langchain_wan.store import WanStore


def resolve(
    operation: Annotated[str, typer.Argument(help="Operation id, as the error and `resume` print it.")],
    charged: Annotated[bool, typer.Option("--charged/--not-charged", help="Outcome that the account shows.")],
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
) -> None:
    """Settle a call whose outcome is unknown."""
    try:
        with report_errors(folder):
            WanStore(folder).resolve(operation, "charged" if charged else "not_charged")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="OPERATION") from None
