"""The image formats that are read, and the errors of bytes that can't be used."""

from __future__ import annotations

from dataclasses import dataclass

# EPS, PDF and the like reach interpreters, TIFF a large decoder: only these are ever opened.
FORMATS = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "WEBP": ("image/webp", ".webp"),
    "BMP": ("image/bmp", ".bmp"),
    "GIF": ("image/gif", ".gif"),
    "AVIF": ("image/avif", ".avif"),
    "HEIC": ("image/heic", ".heic"),
    "HEIF": ("image/heif", ".heif"),
}
EXTENSIONS = dict(FORMATS.values())
READABLE = "PNG, JPEG, WebP, BMP, GIF, AVIF or HEIC"
MAX_FILE_BYTES = 64 * 2**20  # what is read of one image at all


def name_file(image_id: str, mime_type: str) -> str:
    """Return the name of the file of an image."""
    return f"{image_id}{EXTENSIONS.get(mime_type, '')}"


class ImageFileError(ValueError):
    """An image file can't be used. The texts quote nothing of the file.

    Attributes:
        problem: What is wrong, as a clause that follows a colon.
        remedy: What to do about it, as a sentence; empty where nothing helps.
        advice: The same for somebody who talks to the owner of the file, such as a language model.
    """

    def __init__(self, problem: str, *, remedy: str = "", advice: str | None = None) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy
        self.advice = remedy if advice is None else advice


class NotAnImageError(ImageFileError):
    """The bytes are not an image that can be read."""


class UnopenedFormatError(NotAnImageError):
    """It is an image of a format that is not opened here: another version, or an extra, may read it."""


class UnfitImageError(ImageFileError):
    """The image breaks a rule of the service that can't be fixed without changing what it shows."""


def build_damage_error() -> NotAnImageError:
    """Return the error of an image whose bytes are not all there, or not right."""
    remedy = "Get the file again; if it opens in a viewer, save it anew as PNG or JPEG."
    return NotAnImageError("the image is damaged or cut off", remedy=remedy)


@dataclass(frozen=True)
class ImageInfo:
    """What the header of an image says; `width` and `height` in pixels, as stored in the file."""

    mime_type: str
    width: int
    height: int

    @property
    def extension(self) -> str:
        """The file name ending with its dot, such as `.png`."""
        return EXTENSIONS[self.mime_type]
