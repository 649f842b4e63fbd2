"""The bytes of an image that code passes: a Path, bytes, a data URI, a Pillow image or a GeneratedImage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_wan._media import data_uri, encode
from langchain_wan._media.formats import MAX_FILE_BYTES, NotAnImageError
from langchain_wan._media.kinds import build_size_error
from langchain_wan.errors import ImageReferenceError
from langchain_wan.models import GeneratedImage
from langchain_wan.requests import InlineImage, is_pil_image


def read_source(source: Any) -> bytes:
    """Return the bytes of an image that code passed; strings open no file and no connection.

    Raises:
        ImageFileError: It is not an image, or a file that can't be read.
        ImageReferenceError: It is not something that could be an image.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, GeneratedImage):
        return source.read()
    if isinstance(source, InlineImage):
        return data_uri.decode_data_uri(source.content) if isinstance(source.content, str) else source.content
    if isinstance(source, Path):
        return _read_file(source)
    if is_pil_image(source):
        return encode.encode_png(source)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return data_uri.decode_data_uri(source)
    raise ImageReferenceError(
        "An image to store must be bytes, a Path, a data URI, a Pillow image or a GeneratedImage.", reason="refused"
    )


def name_source(source: Any) -> str:
    """Return what an error calls an image: its file, its id, or nothing."""
    if isinstance(source, Path):
        return str(source)
    return source.id if isinstance(source, GeneratedImage) else ""


def _read_file(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise NotAnImageError("it is not a file", remedy="Pass the path of an image file.")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:  # its size decides: it is not read
            raise build_size_error(size)
        return path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise NotAnImageError(reason, remedy="Check its path.") from error
