"""The input images that a person names at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import typer

from langchain_wan._media import decode, formats
from langchain_wan._storage.ids import IMAGE_ID
from langchain_wan._storage.sources import read_source
from langchain_wan.errors import ImageReferenceError
from langchain_wan.store import WanStore


def build_finder(folder: Path) -> Callable[[str], str | Path]:
    """Return the function that finds input images: a file, an id of the store in `folder`, a URL or a data URI.

    It changes nothing, so that a mistake is told before anything is begun.
    """

    @cache
    def find_source(text: str) -> str | Path:
        if text.lower().startswith(("http://", "https://", "data:")):
            return text
        if IMAGE_ID.fullmatch(text):
            if not folder.is_dir() or WanStore(folder).get(text) is None:
                raise typer.BadParameter(f"No image {text} in {folder}.", param_hint="--image")
            return text
        path = Path(text).expanduser()
        if path.is_dir():
            raise typer.BadParameter(f"{text} is a folder, not an image file.", param_hint="--image")
        if not path.is_file():
            raise typer.BadParameter(f"No such file, URL or image id: {text}", param_hint="--image")
        try:
            decode.inspect(read_source(path))
        except formats.ImageFileError as error:
            reason = f"{text} can't be used: {error.problem}. {error.remedy}".strip()
            raise typer.BadParameter(reason, param_hint="--image") from None
        except ImageReferenceError as error:
            raise typer.BadParameter(error.what, param_hint="--image") from None
        return path.resolve()

    return find_source
