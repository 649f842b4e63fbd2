"""`langchain-wan generate --from FILE`: a progress bar, and a contact sheet at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langchain_wan._media.formats import EXTENSIONS
from langchain_wan._media.html import Picture, contact_sheet
from langchain_wan.cli.output import save_image
from langchain_wan.cli.request_file import Line
from langchain_wan.cli.shell_advice import to_shell_advice
from langchain_wan.client import WanClient
from langchain_wan.errors import WanError
from langchain_wan.models import ImageResult

SHEET = "contact-sheet.html"


@dataclass(frozen=True)
class LineResult:
    """How a line ended: with a result, or an error."""

    line: Line
    result: ImageResult | None = None
    error: WanError | None = None


def run_batch(client: WanClient, lines: list[Line], folder: Path, title: str, err: Console) -> list[LineResult]:
    """Carry out the lines of a file, write the sheet, and return how they ended, in their order."""
    results: dict[int, LineResult] = {}
    columns = (
        *(BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]} failed")),
        *(TextColumn("${task.fields[spent]}"), TimeRemainingColumn()),
    )
    try:
        with Progress(*columns, console=err, disable=not err.is_terminal) as progress:
            task = progress.add_task("", total=len(lines), failed=0, spent="0")
            for line_result in _carry_out(client, lines):
                results[line_result.line.number] = line_result
                if line_result.result is not None:
                    for image in line_result.result.images:
                        save_image(image, folder)
                failed = sum(each.result is None for each in results.values())
                progress.update(task, advance=1, failed=failed, spent=f"{sum_cost(results.values()):f}")
    finally:  # what came before Ctrl-C is worth a look too
        ordered = [results[line.number] for line in lines if line.number in results]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SHEET).write_text(build_sheet(title, ordered, folder), encoding="utf-8")
    return ordered


def _carry_out(client: WanClient, lines: list[Line]) -> Iterator[LineResult]:
    """Carry out the lines, `max_concurrency` of them at once, and yield each as it ends."""
    threads = ThreadPoolExecutor(client.max_concurrency, thread_name_prefix="langchain-wan-batch")
    try:
        futures = [threads.submit(_carry_out_line, client, line) for line in lines]
        for future in as_completed(futures):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _carry_out_line(client: WanClient, line: Line) -> LineResult:
    try:
        return LineResult(line, result=client.generate(line.request))
    except WanError as error:
        return LineResult(line, error=error)


def sum_cost(results: Iterable[LineResult]) -> Decimal:
    """Return the dollars that lines have cost, in this run or an earlier one."""
    return sum((line_result.result.cost_usd for line_result in results if line_result.result is not None), Decimal(0))


def build_sheet(title: str, results: list[LineResult], folder: Path) -> str:
    """Return the contact sheet of lines that ended; its images are in `folder`."""
    images = sum(len(line_result.result.images) for line_result in results if line_result.result is not None)
    failed = sum(line_result.result is None for line_result in results)
    summary = f"{images} images, ${sum_cost(results):f}" + (f"; {failed} failed" if failed else "")
    pictures = [picture for line_result in results for picture in _build_pictures(line_result, folder)]
    return contact_sheet(title, summary, pictures)


def _build_pictures(line_result: LineResult, folder: Path) -> list[Picture]:
    prompt, result = line_result.line.request.prompt, line_result.result
    if result is None:
        note = "no image" if line_result.error is None else to_shell_advice(str(line_result.error), folder)
        return [Picture(prompt, f"line {line_result.line.number}", note=note)]
    cost = (result.cost_usd / (len(result.images) + len(result.failures))).normalize()
    return [
        Picture(
            prompt,
            f"{image.id} · ${cost:f} · {result.model}",
            image.preview(),
            f"{image.id}{EXTENSIONS[image.mime_type]}",
            "not stored",
        )
        for image in result.images
    ]
