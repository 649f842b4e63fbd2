"""The contact sheet of a batch: every line of the file, beside what was made of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import count
from pathlib import Path

from langchain_wan._media.formats import name_file
from langchain_wan._media.html import Picture, contact_sheet
from langchain_wan._storage.whole_files import write_whole
from langchain_wan._text.amounts import format_usd
from langchain_wan.cli.calls import CallResult
from langchain_wan.cli.request_file import Line
from langchain_wan.cli.shell_advice import to_shell_advice

_MARK = b"<!-- langchain-wan "  # before the digest of a sheet: a page without it is somebody else's


def write_sheet(title: str, lines: Sequence[Line], results: Mapping[int, CallResult], folder: Path) -> Path:
    """Write the contact sheet into the folder that has the images, and return its file.

    Args:
        title: What the file is called.
        lines: All lines, in their order.
        results: How calls ended, by the index of their line.
        folder: The output folder.

    Raises:
        OSError: It can't be written.
    """
    made = [call.result for call in results.values() if call.result is not None]
    cost = sum((result.cost_usd for result in made), Decimal(0))
    failed, waiting = sum(call.error is not None for call in results.values()), len(lines) - len(results)
    summary = f"{sum(len(result.images) for result in made)} images, {format_usd(cost)}"
    summary += f"; {failed} failed" * (failed > 0) + f"; {waiting} not started" * (waiting > 0)
    pictures = [
        picture for index, line in enumerate(lines) for picture in _build_pictures(line, results.get(index), folder)
    ]
    page = contact_sheet(title, summary, pictures).encode()
    file = _find_file(folder)
    write_whole(file, b"%s%s%s -->\n" % (page, _MARK, _compute_digest(page)))
    return file


def _find_file(folder: Path) -> Path:
    """Return the first name that is free, or that an earlier sheet has: a page of a person stays as it is."""
    names = (folder / f"contact-sheet{f'-{number}' if number > 1 else ''}.html" for number in count(1))
    return next(file for file in names if not os.path.lexists(file) or _is_own(file))


def _is_own(file: Path) -> bool:
    """Say whether a file is a sheet as the command wrote it: one that was edited is a person's."""
    if file.is_symlink() or not file.is_file():
        return False
    page, _, rest = file.read_bytes().rpartition(_MARK)
    return rest.startswith(_compute_digest(page))


def _compute_digest(page: bytes) -> bytes:
    return hashlib.sha256(page).hexdigest().encode()


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
            name_file(image.id, image.mime_type),
            "not stored",
            parents,
        )
        for image in result.images
    ]
