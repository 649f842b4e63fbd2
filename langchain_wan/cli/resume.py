"""`langchain-wan resume`: fetch what was paid for and is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_wan.cli.files import save_early, save_result
from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, print_nothing_yet, print_result, report_errors, show_spinner
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_resolve, to_shell_advice
from langchain_wan.cli.unresolved import describe, find_uncertain, find_unresolved, print_steps_to_settle
from langchain_wan.client import WanClient
from langchain_wan.models import ImageResult
from langchain_wan.store import WanStore


def resume(folder: Annotated[Path, Folder] = DEFAULT_FOLDER) -> None:
    """Fetch billed images that are missing, at no cost."""
    if not folder.is_dir():
        print_nothing_yet(folder)
        return
    with report_errors(folder):
        store = WanStore(folder)
        with show_spinner("Fetching"):
            # Each image is written as it comes: the command may be killed before the others are there.
            results = WanClient(store=store, on_image=lambda image: save_early(image, folder)).resume()
        are_written = [_print_result(result, folder) for result in results]
        unresolved = find_unresolved(store)
        if not results:
            err.print("There is nothing to fetch." if not unresolved else "Nothing could be fetched.")
        for entry in unresolved:
            err.print(describe(entry))
        print_steps_to_settle(find_uncertain(unresolved), folder)
        for entry in unresolved:
            if entry.state == "partial":
                command = name_resolve(entry.operation_id, "charged", folder)
                err.print(f"Give up the missing images of {entry.operation_id}, if they can't be fetched: {command}.")
        if not all(are_written):
            raise typer.Exit(1)


def _print_result(result: ImageResult, folder: Path) -> bool:
    """Print a result, and say whether all of its files were written."""
    saved = save_result(result, folder)
    print_result(result, saved.files)
    if saved.error is not None:  # the other results are printed nevertheless
        err.print(to_shell_advice(str(saved.error), folder))
    return saved.error is None
