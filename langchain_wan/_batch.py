"""Many requests from a file. Each line is an operation of its own, so that doing it again pays for what is missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_wan.client import WanClient
from langchain_wan.errors import InvalidImageRequestError, WanError
from langchain_wan.models import ImageRequest, ImageResult
from langchain_wan.runnables import request_of


@dataclass(frozen=True)
class Line:
    """One request of a file; `number` counts from 1, as editors do."""

    number: int
    request: ImageRequest


@dataclass(frozen=True)
class Ended:
    """How a line ended: with a result, or an error."""

    line: Line
    result: ImageResult | None = None
    error: WanError | None = None


def lines_of(path: Path, defaults: Mapping[str, Any], source: Callable[[str], Any]) -> list[Line]:
    """Read the requests of a file: a prompt on each line, or with `.jsonl` the fields of a request.

    Args:
        defaults: Fields of a request that a line may set itself.
        source: Makes an input image of what a line names.

    Raises:
        InvalidImageRequestError: A line is none; its number stands in the text.
    """
    text = path.read_text(encoding="utf-8-sig")
    read = _fields if path.suffix.lower() == ".jsonl" else _prompt
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(Line(number, _request({**defaults, **read(line)}, number, source)))
            except Exception as error:  # whatever is wrong with it, it has a number
                said = " ".join(str(error).split()).removesuffix(" Nothing was charged.").rstrip(".")
                raise InvalidImageRequestError(f"Line {number} of {path.name}: {said}.") from error
    if not found:
        raise InvalidImageRequestError(f"{path.name} holds no line.")
    return found


def ended(client: WanClient, lines: list[Line]) -> Iterator[Ended]:
    """Carry out the lines, `max_concurrency` of them at once, and yield each as it ends."""
    threads = ThreadPoolExecutor(client.max_concurrency, thread_name_prefix="langchain-wan-batch")
    try:
        futures = [threads.submit(_ended, client, line) for line in lines]
        for future in as_completed(futures):
            yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _ended(client: WanClient, line: Line) -> Ended:
    try:
        return Ended(line, result=client.generate(line.request))
    except WanError as error:
        return Ended(line, error=error)


def _prompt(line: str) -> dict[str, Any]:
    return {"prompt": line.strip()}


def _fields(line: str) -> dict[str, Any]:
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  one error for all that a line may be
    return fields


def _request(fields: dict[str, Any], number: int, source: Callable[[str], Any]) -> ImageRequest:
    # Place and content: two equal lines are two pictures, a line that was changed is another one.
    named = json.dumps([number, fields], sort_keys=True)
    images = fields.get("images") or ()
    images = [images] if isinstance(images, str) else images
    made = {"operation_id": f"line-{hashlib.sha256(named.encode()).hexdigest()[:32]}", **fields}
    return request_of({**made, "images": [source(one) if isinstance(one, str) else one for one in images]})
