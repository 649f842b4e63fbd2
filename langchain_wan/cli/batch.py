"""Many requests from a file. Each line is an operation of its own, so that doing it again pays for what is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from langchain_wan._media.formats import EXTENSIONS
from langchain_wan._media.html import Picture, contact_sheet
from langchain_wan.cli.output import describe_error
from langchain_wan.client import WanClient
from langchain_wan.errors import InvalidImageRequestError, WanError
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest
from langchain_wan.runnables import build_request


@dataclass(frozen=True)
class Line:
    """One request of a file; `number` counts from 1, as editors do."""

    number: int
    request: ImageRequest


@dataclass(frozen=True)
class LineResult:
    """How a line ended: with a result, or an error."""

    line: Line
    result: ImageResult | None = None
    error: WanError | None = None


def read_lines(path: Path, defaults: Mapping[str, Any], source: Callable[[str], Any]) -> list[Line]:
    """Read the requests of a file: a prompt on each line, or with `.jsonl` the fields of a request.

    Args:
        defaults: Fields of a request that a line may set itself.
        source: Makes an input image of what a line names.

    Raises:
        InvalidImageRequestError: A line is none; its number stands in the text.
    """
    text = path.read_text(encoding="utf-8-sig")
    read = _fields if path.suffix.lower() == ".jsonl" else _prompt
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(Line(number, _request({**defaults, **read(line)}, number, source)))
            except Exception as error:  # whatever is wrong with it, it has a number
                said = " ".join(str(error).split()).removesuffix(" Nothing was charged.").rstrip(".")
                raise InvalidImageRequestError(f"Line {number} of {path.name}: {said}.") from error
    if not found:
        raise InvalidImageRequestError(f"{path.name} holds no line.")
    return found


def ended(client: WanClient, lines: list[Line]) -> Iterator[LineResult]:
    """Carry out the lines, `max_concurrency` of them at once, and yield each as it ends."""
    threads = ThreadPoolExecutor(client.max_concurrency, thread_name_prefix="langchain-wan-batch")
    try:
        futures = [threads.submit(_ended, client, line) for line in lines]
        for future in as_completed(futures):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _ended(client: WanClient, line: Line) -> LineResult:
    try:
        return LineResult(line, result=client.generate(line.request))
    except WanError as error:
        return LineResult(line, error=error)


def _prompt(line: str) -> dict[str, Any]:
    return {"prompt": line.strip()}


def _fields(line: str) -> dict[str, Any]:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  one error for all that a line may be
    return fields


def _request(fields: dict[str, Any], number: int, source: Callable[[str], Any]) -> ImageRequest:
    # Place and content: two equal lines are two pictures, a line that was changed is another one.
    named = json.dumps([number, fields], sort_keys=True)
    images = fields.get("images") or ()
    images = [images] if isinstance(images, str) else images
    made = {"operation_id": f"line-{hashlib.sha256(named.encode()).hexdigest()[:32]}", **fields}
    return build_request({**made, "images": [source(one) if isinstance(one, str) else one for one in images]})


SHEET = "contact-sheet.html"


def run_batch(client: WanClient, lines: list[Line], folder: Path, title: str, err: Console) -> list[LineResult]:
    """Carry out the lines of a file and return how they ended, in their order; the sheet is written at the end."""
    found: dict[int, LineResult] = {}
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


def spent_on(ended_lines: Iterable[LineResult]) -> Decimal:
    """Return the dollars that lines have cost, in this run or an earlier one."""
    return sum((one.result.cost_usd for one in ended_lines if one.result is not None), Decimal(0))


def sheet_of(title: str, ended_lines: list[LineResult]) -> str:
    """Return the contact sheet of lines that ended."""
    done = [one for one in ended_lines if one.result is not None]
    images = sum(len(one.result.images) for one in done if one.result is not None)
    summary = f"{images} images, ${spent_on(done):f}"
    if len(done) < len(ended_lines):
        missing = len(ended_lines) - len(done)
        summary += f"; {missing} line{'' if missing == 1 else 's'} without a picture"
    return contact_sheet(title, summary, [picture for one in ended_lines for picture in _pictures(one)])


def _pictures(one: LineResult) -> list[Picture]:
    prompt = one.line.request.prompt
    if one.result is None:
        note = "no picture" if one.error is None else describe_error(one.error)
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
