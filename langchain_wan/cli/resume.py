"""`langchain-wan resume`: fetch what was paid for and is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, print_nothing_yet, print_result, report_errors, save_image, show_spinner
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_resolve, to_shell_advice
from langchain_wan.cli.unresolved import describe, find_uncertain, find_unresolved, print_steps_to_settle
from langchain_wan.client import WanClient
from langchain_wan.errors import WanError
from langchain_wan.models import GeneratedImage, ImageResult
from langchain_wan.store import WanStore


def resume(folder: Annotated[Path, Folder] = DEFAULT_FOLDER) -> None:
    """Fetch billed images that are missing, at no cost."""

    def save(image: GeneratedImage) -> None:  # as it comes: the command may be killed before the others are there
        save_image(image, folder)

    if not folder.is_dir():
        print_nothing_yet(folder)
        return
    with report_errors(folder):
        store = WanStore(folder)
        with show_spinner("Fetching"):
            results = WanClient(store=store, on_image=save).resume()
        for result in results:
            _print_result(result, folder)
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


def _print_result(result: ImageResult, folder: Path) -> None:
    try:
        print_result(result, [save_image(image, folder) for image in result.images])
    except WanError as error:  # the other results are printed nevertheless
        err.print(to_shell_advice(str(error), folder))
