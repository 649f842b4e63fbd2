"""The image formats that are read, and the errors of bytes that are none of them."""

from __future__ import annotations

from dataclasses import dataclass

# EPS, PDF and the like reach interpreters, TIFF a large decoder: only these are ever opened.
FORMATS = {
    "PNG": ("image/png", ".png"),
    "JPEG": ("image/jpeg", ".jpg"),
    "MPO": ("image/jpeg", ".jpg"),  # a JPEG with a second image behind it, as many phones write
    "WEBP": ("image/webp", ".webp"),
    "BMP": ("image/bmp", ".bmp"),
    "GIF": ("image/gif", ".gif"),
}
OPENED = tuple(name for name in FORMATS if name != "MPO")  # which Pillow finds out when it opens a JPEG
EXTENSIONS = dict(FORMATS.values())
MAX_FILE_BYTES = 64 * 2**20  # what is read of one image at all


class NotAnImageError(ValueError):
    """The bytes are not an image that is supported; the text says why, without quoting them."""


class UnfitImageError(ValueError):
    """The image breaks a rule of the service that can't be fixed without changing what it shows."""


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
