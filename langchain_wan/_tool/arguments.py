"""Arguments as language models write them, read as a person would read them.

Models write null or `""` for what they leave out, a list as JSON or comma text, a number as text or with a decimal
point, and an image id inside Markdown, in quotes, in upper case or with a file ending.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from langchain_wan._storage.ids import ID_PATTERN
from langchain_wan.requests import MAX_N, MAX_PROMPT, MAX_REFERENCES, Prompt

_NAME = re.compile(rf"(?<![a-z0-9_])(?:({ID_PATTERN})|upload[_ -]?([1-9][0-9]{{0,3}}))(?![a-z0-9_])", re.IGNORECASE)
_MARKDOWN = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^()\s]+)(?:\s+[^()]*)?\)")
_URL = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
_SEPARATORS = re.compile(r"[,;\s]+")
_QUOTES = "\"'`<>\u201c\u201d\u2018\u2019"
_NOTHING = frozenset({"", "null", "none"})
_KEYS = ("id", "image_id", "url", "image", "name")  # of an object that stands for one image


def read_reference(text: str) -> str:
    """Return the id, upload name, URL or data URI that a text means; the text itself where it means none."""
    stripped = text.strip().strip(_QUOTES).strip()
    markdown = _MARKDOWN.fullmatch(stripped)
    if markdown is not None:  # an id in its text lasts longer than the URL beside it
        stripped = markdown["text"] if _NAME.search(markdown["text"]) else markdown["target"]
    if _URL.match(stripped):
        return stripped
    names = {image_id.lower() or f"upload_{number}" for image_id, number in _NAME.findall(stripped)}
    return names.pop() if len(names) == 1 else stripped


def read_references(value: Any) -> Any:
    """Return a list of references from a list, JSON text, comma text, one reference, or nothing."""
    if value is None:
        return ()
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence):
        return value
    return [reference for item in value for reference in _read_item(item)]


def _read_item(item: Any) -> Iterator[Any]:
    if isinstance(item, Mapping):
        item = next((item[key] for key in _KEYS if isinstance(item.get(key), str)), item)
    if isinstance(item, str):
        yield from _read_text(item)
    elif item is not None:
        yield item


def _read_text(text: str) -> list[Any]:
    text = text.strip()
    if text.lower() in _NOTHING:
        return []
    if text[:1] in {"[", "{"} and _MARKDOWN.match(text) is None:
        try:
            return list(read_references(json.loads(text)))
        except (ValueError, RecursionError):
            text = text.strip("[]{}") or text
    pieces = [read_reference(piece) for piece in _SEPARATORS.split(text) if piece.strip(_QUOTES)]
    if len(pieces) > 1 and all(_NAME.fullmatch(piece) or _URL.match(piece) for piece in pieces):
        return pieces
    return [read_reference(text)]


def read_number(value: Any) -> Any:
    """Return a whole number from a number or text; None where the model gave none."""
    if isinstance(value, str):
        value = value.strip().strip(_QUOTES)
        if value.lower() in _NOTHING:
            return None
        if re.fullmatch(r"[+-]?[0-9]{1,12}(?:\.0{1,6})?", value):
            return int(value.partition(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_count(value: Any) -> Any:
    """Return how many images are meant: one where the model does not say."""
    number = read_number(value)
    return 1 if number is None else number


def read_choice(value: Any, choices: Sequence[str], default: str) -> Any:
    """Return the choice that a text names in any case and spacing; the default where the model gave none."""
    if value is None or (isinstance(value, str) and value.strip().strip(_QUOTES).lower() in _NOTHING):
        return default
    if not isinstance(value, str):
        return value
    text = re.sub(r"[\s_]+", "-", value.strip().strip(_QUOTES).lower())
    return next((choice for choice in choices if choice.lower() == text), value)


def read_option(value: Any) -> Any:
    """Return an optional parameter without blanks and quotes; None where the model gave none."""
    if not isinstance(value, str):
        return value
    text = value.strip().strip(_QUOTES)
    if text.lower() in _NOTHING:
        return None
    return {"true": True, "false": False}.get(text.lower(), text)


References = Annotated[Sequence[StrictStr], Field(max_length=MAX_REFERENCES), BeforeValidator(read_references)]
Count = Annotated[StrictInt, Field(ge=1, le=MAX_N), BeforeValidator(read_count)]
MODELS = ("wan2.7-image", "wan2.7-image-pro")
Model = Annotated[
    Literal["wan2.7-image", "wan2.7-image-pro"],
    BeforeValidator(lambda value: read_choice(value, MODELS, default="wan2.7-image")),
]


class Arguments(BaseModel):
    """What all arguments of the tool have in common."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Cut the signatures off the URLs."""
        for name, value in super().__repr_args__():
            yield name, [image.partition("?")[0] for image in value] if name == "images" else value


class WanImageInput(Arguments):
    """Make, edit or combine images."""

    # Defaults are made by functions, and lengths checked by functions: OpenAI's strict mode refuses a schema with
    # `default`, `minLength` or `maxLength`. Limits stand in the descriptions too, since some converters drop them.
    # Source: https://platform.openai.com/docs/guides/structured-outputs (2026-11)
    prompt: Prompt = Field(description=f"What to show, or how to change the images; at most {MAX_PROMPT} characters.")
    images: References = Field(
        default_factory=tuple,
        description="Images to edit or combine: ids, URLs, or upload_1, ... as attached by the user; at most "
        f"{MAX_REFERENCES}. Empty makes new.",
    )
    n: Count = Field(default_factory=lambda: 1, description=f"How many, 1 to {MAX_N}; each is charged. Usually 1.")
    model: Model = Field(default_factory=lambda: "wan2.7-image", description="pro costs more and shows more detail.")
