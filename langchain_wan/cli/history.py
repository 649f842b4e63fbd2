"""`langchain-wan history`: what was made, and what it cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from langchain_wan._text.amounts import format_usd
from langchain_wan._text.control_characters import escape_line
from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, out, print_nothing_yet, report_errors
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_store
from langchain_wan.cli.streams import stdout
from langchain_wan.cli.unresolved import find_uncertain, find_unresolved, print_steps_to_settle
from langchain_wan.history import HistoryEntry
from langchain_wan.store import WanStore

COLUMNS = ("when", "state", "cost", "images", "from", "operation")
GAP = 2  # columns between two cells of the table
SHORTEST_PROMPT = 20  # where less is left of a prompt, an operation has several lines


def history(
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="Number of calls.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the calls as JSON.")] = False,
) -> None:
    """List calls and what they cost, the newest first."""
    with report_errors(folder):
        store = WanStore(folder)
        entries = store.history(limit) if folder.is_dir() else []
        if as_json:
            print(json.dumps([_to_json(entry) for entry in entries], indent=2), file=stdout)
        elif entries:
            _print_entries([_Row.build(entry) for entry in entries])
            _print_next_steps(store, folder)
        else:
            print_nothing_yet(folder)


def _print_next_steps(store: WanStore, folder: Path) -> None:
    unresolved = find_unresolved(store)
    print_steps_to_settle(find_uncertain(unresolved), folder)
    if any(entry.state == "partial" for entry in unresolved):
        err.print(f"Fetch the missing images, at no cost: `langchain-wan resume{name_store(folder)}`.")


def _to_json(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "operation_id": entry.operation_id,
        "created_at": entry.created_at.isoformat(),
        "service": entry.service,
        "sandbox": entry.is_sandbox,
        "state": entry.state,
        "model": entry.model,
        "prompt": entry.prompt,
        "n": entry.n,
        "cost_usd": f"{entry.cost_usd:f}",
        "images": entry.images,
        "parents": entry.parents,
    }


@dataclass(frozen=True)
class _Row:
    """One operation as text; a cell may have several lines."""

    cells: tuple[str, ...]
    prompt: str

    @classmethod
    def build(cls, entry: HistoryEntry) -> _Row:
        when = entry.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        state = f"{entry.state} (sandbox)" if entry.is_sandbox else entry.state
        images, parents = "\n".join(entry.images), "\n".join(entry.parents)
        cells = (when, state, format_usd(entry.cost_usd), images, parents, escape_line(entry.operation_id))
        return cls(cells, escape_line(" ".join(entry.prompt.split())))


def _print_entries(rows: Sequence[_Row]) -> None:
    widths = [
        max(cell_len(line) for text in texts for line in text.splitlines() or [""])
        for texts in zip(COLUMNS, *(row.cells for row in rows), strict=True)
    ]
    left = out.width - sum(widths) - GAP * len(widths)
    if left >= SHORTEST_PROMPT:
        _print_table(rows, left)
    else:
        for row in rows:
            _print_lines(row)


def _print_table(rows: Sequence[_Row], width: int) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in (*COLUMNS, "prompt"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row.cells), _cut(row.prompt, width))
    out.print(table)


def _print_lines(row: _Row) -> None:
    """Print an operation on several lines: the prompt is cut, and an id never."""
    when, state, cost, images, parents, operation = row.cells
    out.print(f"{when}  {state}  {cost}", soft_wrap=True)
    out.print(Text("  ") + _cut(row.prompt, out.width - GAP), soft_wrap=True)
    for name, text in (("images", images), ("from", parents), ("operation", operation)):
        if text:
            out.print(f"  {name:9} {' '.join(text.splitlines())}", soft_wrap=True, highlight=False)


def _cut(prompt: str, width: int) -> Text:
    text = Text(prompt)
    text.truncate(width, overflow="ellipsis")
    return text
