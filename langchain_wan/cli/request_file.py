"""A file of requests: a prompt on each line, or the fields of a request as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_wan.errors import InvalidImageRequestError
from langchain_wan.requests import ImageRequest
from langchain_wan.runnables import build_request


@dataclass(frozen=True)
class Line:
    """One request of a file; `number` counts from 1, as editors do."""

    number: int
    request: ImageRequest


def read_lines(path: Path, defaults: Mapping[str, Any], find_source: Callable[[str], Any]) -> list[Line]:
    """Read the requests of a file: a prompt on each line, or with `.jsonl` the fields of a request.

    Each line is an operation of its own, so that a second run pays only for what is missing.

    Args:
        path: The file.
        defaults: Fields of a request that a line may set itself.
        find_source: Returns the input image that a line names.

    Raises:
        InvalidImageRequestError: A line is not a request; its number stands in the text.
    """
    text = path.read_text(encoding="utf-8-sig")
    read = _read_fields if path.suffix.lower() == ".jsonl" else _read_prompt
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                lines.append(Line(number, _build_request({**defaults, **read(line)}, number, find_source)))
            except Exception as error:  # whatever is wrong with a line, the message names its number
                reason = " ".join(str(error).split()).removesuffix(" Nothing was charged.").rstrip(".")
                raise InvalidImageRequestError(f"Line {number} of {path.name}: {reason}.") from error
    if not lines:
        raise InvalidImageRequestError(f"{path.name} has no lines.")
    return lines


def _read_prompt(line: str) -> dict[str, Any]:
    return {"prompt": line.strip()}


def _read_fields(line: str) -> dict[str, Any]:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004  one error for all that a line may be
    return fields


def _build_request(fields: dict[str, Any], number: int, find_source: Callable[[str], Any]) -> ImageRequest:
    # Number and content: two identical lines are two images, and a line that was changed is another operation.
    content = json.dumps([number, fields], sort_keys=True)
    operation_id = f"line-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
    images = fields.get("images") or ()
    images = [images] if isinstance(images, str) else images
    if not all(isinstance(image, str) for image in images):
        raise ValueError("images must be files, URLs or image ids")
    sources = [find_source(image) for image in images]
    return build_request({"operation_id": operation_id, **fields, "images": sources})
