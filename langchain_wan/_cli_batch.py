"""`langchain-wan generate --from FILE`: a progress bar, what went wrong, and a contact sheet at the end."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langchain_wan._batch import Ended, Line, ended
from langchain_wan._pixels import EXTENSIONS
from langchain_wan._sheet import Picture, contact_sheet
from langchain_wan.client import WanClient

SHEET = "contact-sheet.html"


def run_batch(client: WanClient, lines: list[Line], folder: Path, title: str, err: Console) -> list[Ended]:
    """Carry out the lines of a file and return how they ended, in their order; the sheet is written at the end."""
    found: dict[int, Ended] = {}
    columns = (
        *(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed")),
        *(TextColumn("${task.fields[spent]}"), TimeRemainingColumn()),
    )
    try:
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            task = progress.add_task("", total=len(lines), failed=0, spent="0")
            for one in ended(client, lines):
                found[one.line.number] = one
                if one.result is not None:
                    for image in one.result.images:
                        image.save(folder / f"{image.id}{EXTENSIONS[image.mime_type]}")
                failed = sum(each.result is None for each in found.values())
                progress.update(task, advance=1, failed=failed, spent=f"{spent_on(found.values()):f}")
    finally:  # also what came before Ctrl-C is worth a look
        ordered = [found[line.number] for line in lines if line.number in found]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SHEET).write_text(sheet_of(title, ordered), encoding="utf-8")
    return ordered


def spent_on(ended_lines: Iterable[Ended]) -> Decimal:
    """Return the dollars that lines have cost, in this run or an earlier one."""
    return sum((one.result.cost_usd for one in ended_lines if one.result is not None), Decimal(0))


def sheet_of(title: str, ended_lines: list[Ended]) -> str:
    """Return the contact sheet of lines that ended."""
    done = [one for one in ended_lines if one.result is not None]
    images = sum(len(one.result.images) for one in done if one.result is not None)
    summary = f"{images} images, ${spent_on(done):f}"
    if len(done) < len(ended_lines):
        missing = len(ended_lines) - len(done)
        summary += f"; {missing} line{'' if missing == 1 else 's'} without a picture"
    return contact_sheet(title, summary, [picture for one in ended_lines for picture in _pictures(one)])


def _pictures(one: Ended) -> list[Picture]:
    prompt = one.line.request.prompt
    if one.result is None:
        note = "no picture" if one.error is None else str(one.error)
        return [Picture(prompt, f"line {one.line.number}", note=note)]
    made = len(one.result.images) + len(one.result.failures)
    cost = (one.result.cost_usd / made).normalize()
    return [
        Picture(
            prompt,
            f"{image.id} · ${cost:f} · {one.result.model}",
            image.preview(),
            f"{image.id}{EXTENSIONS[image.mime_type]}",
            "not stored",
        )
        for image in one.result.images
    ]
