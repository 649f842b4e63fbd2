"""`langchain-wan history`: what was made, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from langchain_wan._text.control_characters import escape_line
from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, out, report_errors
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER
from langchain_wan.store import WanStore


def history(
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    limit: Annotated[int, typer.Option(min=1, help="Number of operations, newest first.")] = 20,
) -> None:
    """List paid calls, newest first: state, cost, images, and their input images."""
    with report_errors(folder):
        entries = WanStore(folder).history(limit) if folder.is_dir() else []
    if not entries:
        err.print(f"Nothing yet in {folder}.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("when", "state", "cost", "images", "from"):
        table.add_column(column, no_wrap=True)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis")
    for entry in entries:
        when = entry.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        state = entry.state if entry.service.startswith("https:") else f"{entry.state} (sandbox)"
        images, parents = "\n".join(entry.images), "\n".join(entry.parents)
        prompt = Text(escape_line(" ".join(entry.prompt.split())))
        table.add_row(when, state, f"${entry.cost_usd:f}", images, parents, prompt)
    out.print(table)
