"""A file of requests: a prompt on each line, or the fields of a request as JSON; also read from standard input."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from langchain_wan._call.fingerprint import compute_fingerprint
from langchain_wan._services.catalog import price_usd
from langchain_wan.requests import ImageRequest
from langchain_wan.runnables import build_request
from langchain_wan.settings import DEFAULT_MODEL

STANDARD_INPUT = "-"
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class RequestFileError(Exception):
    """A file can't be used; `problems` says why, a sentence for each line that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


@dataclass(frozen=True)
class RequestFile:
    """The text of a file.

    Attributes:
        title: What messages call it.
        batch: The name of its batch where the caller gives none.
        is_json: Whether each line has the fields of a request.
    """

    title: str
    batch: str
    text: str
    is_json: bool


@dataclass(frozen=True)
class Line:
    """One request of a file.

    Attributes:
        number: Counts from 1, as editors do.
        content: A digest that lines with the same request have in common.
        occurrence: How many lines with this content stand above it.
    """

    number: int
    request: ImageRequest
    content: str
    occurrence: int


def read_file(path: Path) -> RequestFile:
    """Read a file, or standard input where the path is `-`.

    Raises:
        RequestFileError: There is no such file, or it is not text.
    """
    if str(path) == STANDARD_INPUT:
        return _from_stream(typer.get_binary_stream("stdin").read(), "standard input")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestFileError(f"{path} can't be read: {error.strerror}.") from error
    if not path.is_file():  # a pipe of the shell: the next one may have the same name
        return _from_stream(data, str(path))
    text = decode_text(data, path.name)
    return RequestFile(path.name, str(path.resolve()), text, path.suffix.lower() == ".jsonl")


def _from_stream(data: bytes, title: str) -> RequestFile:
    """Return what came through a pipe; its batch is named by its content, so that another one is another batch."""
    text = decode_text(data, title)
    batch = f"standard input {hashlib.sha256(text.encode()).hexdigest()}"
    return RequestFile(title, batch, text, text.lstrip().startswith("{"))


def decode_text(data: bytes, title: str) -> str:
    """Return the text of UTF-8, with or without a byte order mark, or of UTF-16 with one.

    Raises:
        RequestFileError: It is something else.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding, "replace").count("\n") + 1
    else:
        if "\0" not in text:
            return text
        line = text[: text.index("\0")].count("\n") + 1
    raise RequestFileError(f"{title} is not UTF-8 or UTF-16 text, from line {line} on. Save it as UTF-8.")


def parse_lines(file: RequestFile, defaults: Mapping[str, Any], find_source: Callable[[str], Any]) -> list[Line]:
    """Return the requests of a file: a prompt on each line, or the fields of a request.

    Args:
        file: The file.
        defaults: Fields of a request that a line may set itself.
        find_source: Returns the input image that a line names.

    Raises:
        RequestFileError: Lines are not requests: a problem for each of them.
    """
    lines, problems, occurrences = list[Line](), list[str](), Counter[str]()
    for number, text in _split(file):
        try:
            request = _build_request(text, file.is_json, defaults, find_source)
        except Exception as error:  # noqa: BLE001  whatever is wrong with a line, the message names its number
            reason = " ".join(str(error).split()).removesuffix(" Nothing was charged.").rstrip(".")
            problems.append(f"Line {number} of {file.title}: {reason}.")
            continue
        content = compute_fingerprint(request, request.model or DEFAULT_MODEL)
        lines.append(Line(number, request, content, occurrences[content]))
        occurrences[content] += 1
    if problems or not lines:
        raise RequestFileError(*(problems or [f"{file.title} has no lines."]))
    return lines


def _split(file: RequestFile) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank."""
    # JSON Lines end at line feeds (https://jsonlines.org, 2026-11). Lines of text end where editors end them. Other
    # characters at which `str.splitlines` splits, such as U+2028, belong to the prompt.
    texts = file.text.split("\n") if file.is_json else re.split(r"\r\n|\n|\r", file.text)
    return ((number, text) for number, text in enumerate(texts, 1) if text.strip())


def _build_request(
    text: str, is_json: bool, defaults: Mapping[str, Any], find_source: Callable[[str], Any]
) -> ImageRequest:
    fields = {**defaults, **(_read_fields(text) if is_json else {"prompt": text.strip()})}
    images = fields["images"]
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ValueError("images must be files, URLs or image ids")
    request = build_request({**fields, "images": [find_source(image) for image in images]})
    price_usd(request.model or DEFAULT_MODEL)  # one that is not known can't be made
    return request


def _read_fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text, strict=False)  # a raw control character in a prompt is a part of it
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    if not isinstance(fields, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004  one error for all that a line may be
    return {name: value for name, value in fields.items() if value is not None}
