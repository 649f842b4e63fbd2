"""What a caller may give as an input image, and how it is shown: by id, digest or size, never by content."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias, runtime_checkable

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from langchain_wan._blocks import block_source, is_image_block

if TYPE_CHECKING:
    from PIL import Image


@runtime_checkable
class StoredImage(Protocol):
    """An image that has an id: a `GeneratedImage`."""

    id: str
    sha256: str


LONGEST_NAME = 4096  # characters


class InlineImage:
    """An image given as bytes or as a data URI; shown by digest and size, never by content."""

    __slots__ = ("_shown", "content")

    def __init__(self, content: bytes | str) -> None:
        self.content = content
        self._shown: str | None = None

    def __repr__(self) -> str:
        """Show the digest and the size."""
        if self._shown is None:
            raw = self.content if isinstance(self.content, bytes) else self.content.encode(errors="replace")
            kind = "bytes" if isinstance(self.content, bytes) else "characters of data URI"
            self._shown = f"<{len(raw):,} {kind}, sha256 {hashlib.sha256(raw).hexdigest()[:16]}>"
        return self._shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InlineImage) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


def is_pil_image(value: object) -> bool:
    """Say whether a value is a Pillow image, without importing Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _as_source(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return InlineImage(bytes(value))
    if isinstance(value, str):
        # What is longer than any URL is no name; it is kept out of traces, and refused when it is resolved.
        return InlineImage(value) if value[:5].lower() == "data:" or len(value) > LONGEST_NAME else value
    if isinstance(value, dict) and is_image_block(value):
        source = block_source(value)
        if source is None:
            raise ValueError("this image block holds no image, only a reference to a provider's file store")
        return _as_source(source)
    if isinstance(value, Path | InlineImage | StoredImage) or is_pil_image(value):
        return value
    raise ValueError("an image is an id, a URL, a data URI, bytes, a Path, a PIL image or a GeneratedImage")


def describe_source(source: Any) -> str:
    """Name an input image in a few characters, equal for equal images: what traces and fingerprints hold."""
    if isinstance(source, str):
        return source
    if isinstance(source, StoredImage):
        return source.id
    if isinstance(source, Path):
        return f"<file {source.name}>"
    if is_pil_image(source):
        return f"<PIL image {source.mode} {source.width}x{source.height}>"
    return repr(source)


# After validation: str, Path, InlineImage, a `GeneratedImage` or a Pillow image.
Source = Annotated[
    Any,
    BeforeValidator(_as_source),
    PlainSerializer(describe_source, return_type=str),
    WithJsonSchema({"type": "string", "description": "An image id, a URL or a data URI."}),
]
ImageSource: TypeAlias = "str | Path | bytes | bytearray | memoryview | Image.Image | StoredImage | Mapping[str, Any]"
