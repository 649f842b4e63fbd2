"""The contact sheet of a batch: every line of the file, beside what was made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from langchain_wan._media.formats import EXTENSIONS
from langchain_wan._media.html import Picture, contact_sheet
from langchain_wan._text.amounts import format_usd
from langchain_wan.cli.calls import CallResult
from langchain_wan.cli.request_file import Line
from langchain_wan.cli.shell_advice import to_shell_advice

SHEET = "contact-sheet.html"


def write_sheet(title: str, lines: Sequence[Line], results: Mapping[int, CallResult], folder: Path) -> None:
    """Write the contact sheet into the folder that has the images.

    Args:
        title: What the file is called.
        lines: All lines, in their order.
        results: How calls ended, by the index of their line.
        folder: The output folder.
    """
    made = [call.result for call in results.values() if call.result is not None]
    cost = sum((result.cost_usd for result in made), Decimal(0))
    failed, waiting = sum(call.error is not None for call in results.values()), len(lines) - len(results)
    summary = f"{sum(len(result.images) for result in made)} images, {format_usd(cost)}"
    summary += f"; {failed} failed" * (failed > 0) + f"; {waiting} not started" * (waiting > 0)
    pictures = [
        picture for index, line in enumerate(lines) for picture in _build_pictures(line, results.get(index), folder)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SHEET).write_text(contact_sheet(title, summary, pictures), encoding="utf-8")


def _build_pictures(line: Line, call: CallResult | None, folder: Path) -> list[Picture]:
    prompt, result = line.request.prompt, None if call is None else call.result
    if result is None:
        note = "not started" if call is None else to_shell_advice(str(call.error), folder)
        return [Picture(prompt, f"line {line.number}", note=note)]
    parents = result._parent_previews()
    return [
        Picture(
            prompt,
            f"{image.id} · {format_usd(result._cost_per_image)} · {result.model}",
            image.preview(),
            f"{image.id}{EXTENSIONS[image.mime_type]}",
            "not stored",
            parents,
        )
        for image in result.images
    ]
