"""`langchain-wan save`: write images of the store to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langchain_wan._media.formats import name_file
from langchain_wan.cli.files import explain_unwritten, write_image
from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, open_store, out, report_errors
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER
from langchain_wan.errors import StoreError
from langchain_wan.store import WanStore


def save(
    images: Annotated[list[str], typer.Argument(metavar="ID...", help="Image ids, as `history` prints them.")],
    target: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder of the files.")] = Path(),
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
) -> None:
    """Write images of the store to files, at no cost."""
    with report_errors(folder):
        store = open_store(folder)
        problems = [problem for name in images if (problem := _save(store, name, target, folder))]
        for problem in problems:
            err.print(problem)
        if problems:
            raise typer.Exit(1)


def _save(store: WanStore, name: str, target: Path, folder: Path) -> str:
    """Write an image and print its file, or return why it can't be written."""
    image = store.get(name)
    if image is None:
        return f"No image {name} in {folder}."
    try:
        target.mkdir(parents=True, exist_ok=True)
        out.print(str(write_image(image, target)), highlight=False, soft_wrap=True)
    except StoreError as error:
        return error.what
    except OSError as error:
        problem = explain_unwritten(target / name_file(image.id, image.mime_type), error)
        return f"{problem}. To write it elsewhere, use --to FOLDER."
    return ""
