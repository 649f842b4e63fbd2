"""Image blocks of messages, in every form that providers and front ends write, as one source.

The forms were read in langchain-core 1.8 (`messages/content.py` and its translators), the converters of OpenAI,
Anthropic, Google and Bedrock, LangChain.js, the AI SDK's UI messages, AG-UI and MCP (2026-11). The type that a
block gives may be wrong: a file whose bytes are an image is one.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

IMAGE_TYPES = frozenset({"image", "image_url", "input_image"})
FILE_TYPES = frozenset({"file", "input_file", "media", "binary", "resource", "document"})
# A new form: its `type` above, the key of its inner dict in _NESTED, those of its bytes and its URL in _DATA and _URLS.
_NESTED = (
    *("source", "image_url", "image", "file", "inline_data", "inlineData", "file_data", "fileData", "resource"),
    *("input_image", "value"),
)
_DATA = ("base64", "data", "bytes", "file_data", "fileData", "blob", "value", "image")
_URLS = ("url", "image_url", "uri", "file_uri", "fileUri", "file_url", "image", "value")
_MIME_TYPES = ("mime_type", "mimeType", "media_type", "mediaType", "contentType", "format")
_IMAGE_ENDING = re.compile(r"\.(?:png|jpe?g|webp|bmp|gif|heic|heif|avif|tiff?)(?:[?#]|$)", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]{16,}")
_SNIFFED = 64  # characters of base64, which hold 48 bytes: enough for every signature
_DEPTH = 4
_MAX_NESTED = 40  # dicts of one block that are looked into; real ones have up to five


def is_image_block(block: object) -> bool:
    """Say whether a content block of a message shows an image."""
    if not isinstance(block, Mapping):
        return False
    block = _unwrap(block)
    kind, mime_type = block.get("type"), _find_mime_type(block)
    if kind is not None and not isinstance(kind, str):
        return False
    if mime_type is not None and mime_type.startswith("image"):
        return kind is None or kind in IMAGE_TYPES | FILE_TYPES
    if kind in IMAGE_TYPES:  # labelled as an image, whose MIME type may be wrong or missing
        return mime_type is None or not mime_type.startswith(("audio/", "video/", "text/")) or _looks_like_image(block)
    if kind in FILE_TYPES or (kind is None and any(isinstance(block.get(key), Mapping) for key in _NESTED)):
        return _looks_like_image(block)
    return False


def block_source(block: Mapping[str, Any]) -> str | bytes | None:
    """Return what an image block holds: a URL, a data URI, bytes, or None for a `file_id` or nothing at all."""
    block = _unwrap(block)
    source = _find_source(block)
    return b"" if source is None and _is_empty(block) else source


def _unwrap(block: Mapping[str, Any]) -> Mapping[str, Any]:
    # LangChain keeps what it does not know as {"type": "non_standard", "value": {...}}.
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, Mapping) else block


def _walk(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a block and the dicts nested in it, depth first, and only a few: a client may nest as many as it likes."""
    waiting = [(block, _DEPTH)]
    for _ in range(_MAX_NESTED):
        if not waiting:
            return
        current, depth = waiting.pop()
        yield current
        nested = [current.get(key) for key in reversed(_NESTED) if depth]
        waiting += [(value, depth - 1) for value in nested if isinstance(value, Mapping)]


def _find_source(block: Mapping[str, Any]) -> str | bytes | None:
    for inner in _walk(block):
        data = [key for key in _DATA if inner.get(key)]
        label = (_find_mime_type(inner) or _find_mime_type(block)) if data else None
        candidates: list[str | bytes | None] = [_read_data(inner, key, label) for key in data]
        candidates += [url if isinstance(url := inner.get(key), str) and url else None for key in _URLS]
        source = next((candidate for candidate in candidates if candidate is not None), None)
        if source is not None:
            return source
    return None


def _is_empty(block: Mapping[str, Any]) -> bool:
    """Say whether a block holds a file of 0 bytes: its data is there, and empty."""
    blocks = list(_walk(block))
    has_data = any(inner.get(key) in ("", b"") for inner in blocks for key in _DATA)
    return has_data and not any(inner.get("file_id") for inner in blocks)


def _read_data(block: Mapping[str, Any], key: str, mime_type: str | None) -> str | bytes | None:
    """Return bytes, or base64 as a data URI; None for a URL, an id or nothing."""
    data = block.get(key)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data) or None
    if not isinstance(data, str) or not data or data[:4].lower() == "http":
        return None
    if data[:5].lower() == "data:":
        return data
    if key in _URLS and _BASE64.fullmatch(data[:256]) is None:
        return None
    return f"data:{mime_type or 'image/png'};base64,{data}"


def _find_mime_type(block: Mapping[str, Any]) -> str | None:
    return next((found for inner in _walk(block) if (found := _read_mime_type(inner))), None)


def _read_mime_type(block: Mapping[str, Any]) -> str | None:
    for key in _MIME_TYPES:
        mime_type = block.get(key)
        if isinstance(mime_type, str) and mime_type:
            # Bedrock writes a format alone, and some front ends `image` or `image/*`.
            mime_type = mime_type.lower().strip()
            return f"image/{mime_type}" if key == "format" and "/" not in mime_type else mime_type
    return None


def _looks_like_image(block: Mapping[str, Any]) -> bool:
    source = _find_source(block)
    if isinstance(source, bytes):
        return has_image_signature(source)
    if source is None:
        return False
    if source[:5].lower() != "data:":
        return _IMAGE_ENDING.search(source) is not None
    _, _, body = source.partition(",")
    text = "".join(body[: 2 * _SNIFFED].split())[:_SNIFFED].translate(str.maketrans("-_", "+/"))
    try:
        return has_image_signature(binascii.a2b_base64(text[: len(text) // 4 * 4]))
    except ValueError:  # of binascii, or text that is not ASCII
        return False


def has_image_signature(data: bytes) -> bool:
    """Say whether bytes begin as the image formats do that people attach."""
    return (
        data.startswith((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*"))
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or (data[4:8] == b"ftyp" and data[8:12] in {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"})
    )


def find_text(content: object) -> str:
    """Return the text of a message's content, its blocks joined by newlines."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(_find_texts(content))


def _find_texts(blocks: list[object]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, str):
            yield block
        elif isinstance(block, dict) and block.get("type") in ("text", "input_text"):
            text = block.get("text")
            if isinstance(text, str):
                yield text
