"""The bytes of an image that code hands over, in whatever form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_wan._media import data_uri, encode
from langchain_wan.errors import ImageReferenceError
from langchain_wan.models import GeneratedImage
from langchain_wan.requests import InlineImage, is_pil_image


def read_source(source: Any) -> bytes:
    """Return the bytes of an image that code gave; strings open no file and no connection.

    Raises:
        ImageReferenceError: It is none, or it can't be read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, GeneratedImage):
        return source.read()
    if isinstance(source, InlineImage):
        return data_uri.decode_data_uri(source.content) if isinstance(source.content, str) else source.content
    if isinstance(source, Path):
        try:
            return source.read_bytes()
        except OSError as error:
            raise ImageReferenceError(
                f"The image file can't be read: {error.strerror}.", reason="unreadable", next_step="Check its path."
            ) from error
    if is_pil_image(source):
        return encode.encode_png(source)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return data_uri.decode_data_uri(source)
    raise ImageReferenceError(
        "An image to store must be bytes, a Path, a data URI, a Pillow image or a GeneratedImage.", reason="refused"
    )
