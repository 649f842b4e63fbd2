"""The command `langchain-wan`: make and edit images from a terminal, and run the sandbox.

Exit codes: 0; 1 where the service, the budget or the store said no; 2 for a wrong command line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from langchain_wan._text.control_characters import escape_text
from langchain_wan.cli.balance import balance
from langchain_wan.cli.generate import generate
from langchain_wan.cli.history import history
from langchain_wan.cli.options import ARGUMENTS
from langchain_wan.cli.output import err
from langchain_wan.cli.resolve import resolve
from langchain_wan.cli.resume import resume
from langchain_wan.cli.sandbox import FAULT_NAMES, serve
from langchain_wan.cli.save import save
from langchain_wan.cli.streams import discard


class SafeGroup(TyperGroup):
    """The command, whose complaints about a command line quote it with its control characters escaped."""

    def make_context(self, info_name: Any, args: list[str], *more: Any, **kwargs: Any) -> Any:
        """Read the options before a command, and remember the whole line."""
        arguments = tuple(args)  # reading takes them out of the list
        with _escaping_complaints():
            context = super().make_context(info_name, args, *more, **kwargs)
        context.meta[ARGUMENTS] = arguments
        return context

    def invoke(self, ctx: Any) -> Any:
        """Read the options of a command, and run it."""
        with _escaping_complaints():
            return super().invoke(ctx)


@contextmanager
def _escaping_complaints() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # click's errors, which newer versions of typer bring along themselves
        if isinstance(message := getattr(error, "message", None), str):
            error.message = escape_text(message)  # type: ignore[attr-defined]  # it has one
        raise


app = typer.Typer(
    cls=SafeGroup,
    help="Make and edit images with Wan 2.7.",
    no_args_is_help=True,
    rich_markup_mode=None,  # no boxes: they cut a command that is to be copied
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(context_settings={"allow_extra_args": True})(generate)  # it explains words that should be quoted
for command in (history, save, resume, resolve, balance):
    app.command()(command)
app.command("sandbox", epilog=FAULT_NAMES)(serve)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(version("langchain-wan"))  # noqa: T201  the output of the option
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make and edit images with Wan 2.7."""


def run() -> None:
    """Run the command, and say in a line what can't be written: the help, or a shell's completion."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            err.print(f"{error.filename or 'The output'} can't be written: {error.strerror}.")
        raise SystemExit(1) from None
