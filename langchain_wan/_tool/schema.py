"""What a language model reads of the tool before it calls it: the arguments that it may choose, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictInt, StrictStr, create_model

from langchain_wan._services.catalog import price_usd
from langchain_wan._text.amounts import format_usd
from langchain_wan._tool.arguments import (
    Arguments,
    WanImageInput,
    read_choice,
    read_count,
    read_number,
    read_option,
    read_references,
)
from langchain_wan.errors import InvalidImageRequestError
from langchain_wan.requests import MAX_N, MAX_NEGATIVE_PROMPT, MAX_REFERENCES, ImageRequest

UPSTREAM = {
    "size": "1K, 2K, 4K, a ratio such as 16:9, both (1K 16:9), or width*height in pixels.",
    "seed": "The same seed gives a similar image.",
    "watermark": "Add an AI label.",
    "thinking_mode": "Slower, better composition.",
    "negative_prompt": f"What not to show; at most {MAX_NEGATIVE_PROMPT} characters.",
}
READERS: Mapping[str, Callable[[Any], Any]] = {
    "size": lambda value: text.upper().replace("X", "x") if isinstance(text := read_option(value), str) else text,
    "seed": read_number,
    "watermark": read_option,
    "thinking_mode": read_option,
    "negative_prompt": lambda value: value or None,
}


def build_schema(
    models: tuple[str, ...], model: str, max_n: int, max_references: int, expose: Sequence[str]
) -> type[BaseModel]:
    """Return the arguments that the model sees: a field with one choice is left out."""
    full = WanImageInput.model_fields
    fields: dict[str, Any] = {"prompt": (full["prompt"].rebuild_annotation(), full["prompt"])}
    if max_references:
        limited = Annotated[Sequence[StrictStr], Field(max_length=max_references), BeforeValidator(read_references)]
        description = _replace_limit(full["images"].description, MAX_REFERENCES, max_references)
        fields["images"] = (limited, Field(default_factory=tuple, description=description))
    if max_n > 1:
        count = Annotated[StrictInt, Field(ge=1, le=max_n), BeforeValidator(read_count)]
        description = _replace_limit(full["n"].description, MAX_N, max_n)
        fields["n"] = (count, Field(default_factory=lambda: 1, description=description))
    if len(models) > 1:
        choice: Any = Annotated[Literal[models], BeforeValidator(partial(read_choice, choices=models, default=model))]
        fields["model"] = (
            choice,
            Field(default_factory=lambda: model, description=f"{full['model'].description} Default: {model}."),
        )
    for name in expose:
        annotation: Any = Annotated[
            ImageRequest.model_fields[name].rebuild_annotation(), BeforeValidator(READERS[name])
        ]
        fields[name] = (annotation, Field(default_factory=lambda: None, description=UPSTREAM[name]))
    schema: type[BaseModel] = create_model("WanImageInput", __base__=Arguments, __doc__=WanImageInput.__doc__, **fields)
    return schema


def _replace_limit(description: str | None, limit: int, own: int) -> str:
    return (description or "").replace(f"at most {limit}.", f"at most {own}.").replace(f"1 to {limit};", f"1 to {own};")


def build_description(models: Sequence[str], prices: Mapping[str, Decimal], max_references: int) -> str:
    """Return what the tool does, what an image costs by each model, and how long it takes."""
    does = "Make an image from text"
    if max_references:
        does += ", edit one" + (" or combine several" if max_references > 1 else "") + " by id"
    costs = []
    for model in models:
        try:
            costs.append(f"{format_usd(price_usd(model, prices=prices))} ({model})")
        except InvalidImageRequestError:
            continue
    cost = f" Each image costs {', '.join(costs)}." if costs else ""
    return f"{does}.{cost} Takes 10 to 120 seconds."
