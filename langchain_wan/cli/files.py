"""Files that the command writes: whole, for their owner only, and never over a file that is not its own.

An image is billed and stored before its file is written: what goes wrong here costs nothing but the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from langchain_wan._media.formats import name_file
from langchain_wan._storage.whole_files import PRIVATE, write_new
from langchain_wan.cli.shell_advice import name_save
from langchain_wan.errors import StoreError, WanError
from langchain_wan.models import GeneratedImage, ImageResult


@dataclass(frozen=True)
class Saved:
    """The files of a result.

    Attributes:
        files: One for each image; None for an image that could not be written.
        error: What went wrong, what it cost, and where the images are; None if all were written.
    """

    files: Sequence[Path | None]
    error: WanError | None


def save_result(result: ImageResult, folder: Path) -> Saved:
    """Write the images of a result into the folder of their store."""
    files, problems, stored = list[Path | None](), list[str](), list[str]()
    for image in result.images:
        try:
            files.append(write_image(image, folder))
        except StoreError as error:
            files.append(None)
            problems.append(error.what.removesuffix("."))
        except OSError as error:
            files.append(None)
            problems.append(explain_unwritten(folder / name_file(image.id, image.mime_type), error))
            stored.append(image.id)
    if not problems:
        return Saved(files, None)
    place = "The image is in the store" if len(stored) == 1 else "The images are in the store"
    failure = StoreError(
        f"{'; '.join(problems)}.",
        charged="yes",
        max_cost_usd=result._cost_per_image * len(problems),
        next_step=f"{place}: {name_save(stored, folder)}." if stored else "",
    )
    return Saved(files, failure)


def save_early(image: GeneratedImage, folder: Path) -> None:
    """Write an image as it comes; where that fails, `save_result` says why."""
    with suppress(OSError, StoreError):
        write_image(image, folder)


def write_image(image: GeneratedImage, folder: Path) -> Path:
    """Write an image under its id, and return the file.

    Raises:
        OSError: The file can't be written.
        StoreError: The store does not have the image.
    """
    file = folder / name_file(image.id, image.mime_type)
    write_new(file, image.read(), PRIVATE)
    return file


def explain_unwritten(file: Path, error: OSError) -> str:
    """Return why a file can't be written, without a full stop."""
    return f"{file} can't be written: {error.strerror or type(error).__name__}"
