"""What the command prints: tables, a spinner, and errors in one line."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from langchain_wan._text.amounts import format_usd
from langchain_wan._text.control_characters import escape_line, escape_text
from langchain_wan._text.logs import logger
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_store, to_shell_advice
from langchain_wan.cli.streams import stderr, stdout
from langchain_wan.errors import (
    ImageReferenceError,
    InvalidImageRequestError,
    WanConfigurationError,
    WanError,
)
from langchain_wan.models import ImageResult
from langchain_wan.store import WanStore


class SafeConsole(Console):
    """A console on which texts can't control the terminal; what rich itself sends to it is no text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a text before it is laid out."""
        return super().render_str(escape_text(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Escape what came by another way, such as a `Text`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escape_text(segment.text))


class MessageConsole(SafeConsole):
    """A console for messages. On a terminal, each command of a message has a line of its own, to be copied whole."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print a message, or what rich prints."""
        if not self.is_terminal or len(objects) != 1 or not isinstance(objects[0], str):
            super().print(*objects, **options)
            return
        for index, part in enumerate(_COMMAND.split(objects[0])):
            if index % 2:  # not wrapped: a line feed would cut the command where it is pasted
                super().print(f"  {part}", **{**options, "soft_wrap": True})
            elif text := part.lstrip(".,;: ").rstrip():
                super().print(text, **options)


_COMMAND = re.compile(r"`(langchain-wan [^`]+)`")
BAD_USAGE = (InvalidImageRequestError, ImageReferenceError, WanConfigurationError)
# A terminal wraps at words; a pipe gets whole lines.
out = SafeConsole(file=cast("IO[str]", stdout), markup=False, width=None if stdout.isatty() else 500)
err = MessageConsole(
    file=cast("IO[str]", stderr), markup=False, highlight=False, width=None if stderr.isatty() else 10_000
)


def open_store(folder: Path) -> WanStore:
    """Return the store of a folder that exists: a command that makes nothing creates none.

    Raises:
        WanConfigurationError: There is no such folder.
    """
    if not folder.is_dir():
        raise WanConfigurationError(
            f"No store in {folder}: there is no such folder. Name the store's folder with --out."
        )
    return WanStore(folder)


def print_result(result: ImageResult, files: Sequence[Path | None]) -> None:
    """Print a table of the images, and a line for each input image that was changed and each image that is missing.

    Args:
        result: The images.
        files: Their files; None for one that was not written.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "file", "size"):
        table.add_column(column, overflow="fold")
    table.add_column("cost", justify="right")
    cost = result._cost_per_image
    for image, file in zip(result.images, files, strict=True):
        table.add_row(image.id, Text(escape_line(str(file or "-"))), f"{image.width}x{image.height}", format_usd(cost))
    out.print(table)
    for adjustment in result.adjustments:
        err.print(adjustment)
    for failure in result.failures:
        err.print(f"Image {failure.index + 1} was charged and not retrieved: {failure.reason}.")


def print_nothing_yet(folder: Path) -> None:
    """Say that a folder has no calls; it may be misspelled."""
    reason = "" if folder.is_dir() else ": there is no such folder. Name the store's folder with --out"
    err.print(f"Nothing yet in {folder}{reason}.")


@contextmanager
def show_spinner(text: str) -> Iterator[None]:
    """Show on a terminal that something is going on, and for how long."""
    if not err.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        progress.add_task(escape_line(text), total=None)
        yield


class _WarningPrinter(logging.Handler):
    """Prints what the package logs as a warning, in one line."""

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        err.print(to_shell_advice(record.getMessage(), self._folder))


@contextmanager
def report_errors(folder: Path = DEFAULT_FOLDER) -> Iterator[None]:
    """Print warnings and errors, each in one line, and end with the exit code of an error.

    Args:
        folder: The store that the command works with.
    """
    printer = _WarningPrinter(folder)
    logger.addHandler(printer)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: err.print(to_shell_advice(str(text), folder))
            yield
    except (WanError, WanConfigurationError) as error:
        err.print(to_shell_advice(str(error), folder), style="red" if err.is_terminal else None)
        raise typer.Exit(2 if isinstance(error, BAD_USAGE) else 1) from None
    except KeyboardInterrupt:
        command = f"`langchain-wan history{name_store(folder)}`"
        err.print(f"Interrupted. What was already sent may have been charged: {command} lists it.")
        raise typer.Exit(130) from None
    except OSError as error:  # from where nobody expects one: it is a line, like any other
        name = f"{error.filename}: " if error.filename else ""
        err.print(f"{name}{error.strerror or type(error).__name__}. {_name_history(folder)}")
        raise typer.Exit(1) from None
    finally:
        logger.removeHandler(printer)
        _report_output(folder)


def _report_output(folder: Path) -> None:
    """End with an error if the output of the command could not be written."""
    stdout.flush()
    if stdout.error is None:
        return
    if not isinstance(stdout.error, BrokenPipeError):  # such as `head`, which has what it wants
        reason = stdout.error.strerror or type(stdout.error).__name__
        err.print(f"The output can't be written: {reason}. {_name_history(folder)}")
    raise typer.Exit(1)


def _name_history(folder: Path) -> str:
    return f"What was made and billed: `langchain-wan history{name_store(folder)}`."
