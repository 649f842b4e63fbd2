"""What the command prints: tables, a spinner, and errors in one line."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from langchain_wan._media.formats import EXTENSIONS
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    RESUME_LATER,
    ImageReferenceError,
    InvalidImageRequestError,
    WanConfigurationError,
    WanError,
)
from langchain_wan.models import GeneratedImage, ImageResult

# What an error advises in Python, as it is done in a shell.
SHELL_STEPS = {
    BLOCKED_UNTIL_SETTLED: (
        "It was not retried; identical requests are blocked until you settle it: check the account, then run "
        "`langchain-wan resolve {operation} --not-charged` or `langchain-wan resolve {operation} --charged`."
    ),
    RESUME_LATER: "`langchain-wan resume` fetches what is missing without paying again, while the URLs last.",
}
BAD_USAGE = (InvalidImageRequestError, ImageReferenceError, WanConfigurationError)
# A terminal wraps at words; a pipe gets whole lines.
out = Console(markup=False, width=None if sys.stdout.isatty() else 500)
err = Console(stderr=True, markup=False, highlight=False, width=None if sys.stderr.isatty() else 10_000)


def save_image(image: GeneratedImage, folder: Path) -> Path:
    """Write an image into a folder under its id, and return the file."""
    return image.save(folder / f"{image.id}{EXTENSIONS[image.mime_type]}")


def print_result(result: ImageResult, files: list[Path]) -> None:
    """Print a table of the images, and a line for each that is missing."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "file", "size"):
        table.add_column(column, overflow="fold")
    table.add_column("cost", justify="right")
    total = len(result.images) + len(result.failures)
    for image, file in zip(result.images, files, strict=True):
        cost = (result.cost_usd / total).normalize()
        table.add_row(image.id, Text(str(file)), f"{image.width}x{image.height}", f"${cost:f}")
    out.print(table)
    for failure in result.failures:
        err.print(f"Image {failure.index + 1} was charged and not retrieved: {failure.reason}.")


@contextmanager
def show_spinner(text: str) -> Iterator[None]:
    """Show on a terminal that something is going on, and for how long."""
    if not err.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        progress.add_task(text, total=None)
        yield


def describe_error(error: Exception) -> str:
    """Return an error in one line, with what to do next as a person does it in a shell."""
    if isinstance(error, WanError):
        error = copy.copy(error)
        for python, shell in SHELL_STEPS.items():
            error.next_step = error.next_step.replace(python, shell)
    return " ".join(str(error).split())


@contextmanager
def report_errors() -> Iterator[None]:
    """Print an error in one line, and end with its exit code."""
    try:
        yield
    except (WanError, WanConfigurationError) as error:
        err.print(describe_error(error), style="red" if err.is_terminal else None)
        raise typer.Exit(2 if isinstance(error, BAD_USAGE) else 1) from None
    except KeyboardInterrupt:
        err.print("Interrupted. What was already sent may have been charged.")
        raise typer.Exit(130) from None
