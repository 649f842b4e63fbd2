"""Image blocks of messages, in every form that LangChain and its front ends use, as one source string.

The forms were read in langchain-core 1.7.2 (`messages/content.py`), the OpenAI and Google converters, and
LangChain.js: v1 `image`, `image_url` as a dict and as a string, `input_image`, `media`, and `mimeType` + `data`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


IMAGE_BLOCK_TYPES = frozenset({"image", "image_url", "input_image", "media"})


def is_image_block(block: object) -> bool:
    """Say whether a content block of a message shows an image."""
    if not isinstance(block, dict):
        return False
    mime_type = _first(block, "mime_type", "mimeType", "media_type")
    if mime_type is not None and not str(mime_type).lower().startswith("image/"):
        return False
    kind = block.get("type")
    if kind == "media":
        return mime_type is not None
    return isinstance(kind, str) and kind in IMAGE_BLOCK_TYPES


def block_source(block: Mapping[str, Any]) -> str | bytes | None:
    """Return what an image block holds: a URL, a data URI, bytes, or None for a `file_id` or nothing at all."""
    nested = block.get("source")
    if isinstance(nested, dict):  # Anthropic: {"type": "image", "source": {"type": "base64", ...}}
        return block_source({"mime_type": nested.get("media_type"), **nested})
    shown = _first(block, "image_url", "image")
    if isinstance(shown, dict):
        shown = shown.get("url")
    data = _first(block, "base64", "data")
    if isinstance(data, bytes):
        return data
    if isinstance(data, str) and data:
        mime_type = _first(block, "mime_type", "mimeType", "media_type") or "image/png"
        return data if data.startswith("data:") else f"data:{mime_type};base64,{data}"
    url = shown if shown is not None else _first(block, "url", "file_uri")
    return url if isinstance(url, str) and url else None


def find_text(content: object) -> str:
    """Return the text of a message's content, its blocks joined by newlines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(_texts(content))


def _texts(blocks: Iterable[object]) -> Iterable[str]:
    for block in blocks:
        if isinstance(block, str):
            yield block
        elif isinstance(block, dict) and block.get("type") in ("text", "input_text"):
            text = block.get("text")
            if isinstance(text, str):
                yield text


def _first(block: Mapping[str, Any], *keys: str) -> Any:
    return next((block[key] for key in keys if block.get(key) is not None), None)
