"""What a language model reads of the tool before it calls it: the arguments that it may choose, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, create_model

from langchain_wan._services.catalog import price_usd
from langchain_wan.errors import InvalidImageRequestError
from langchain_wan.requests import ImageRequest, WanImageInput, list_of_one

UPSTREAM = {
    "size": "1K, 2K, 4K, or width*height in pixels.",
    "seed": "The same seed gives a similar image.",
    "watermark": "Add an AI label.",
    "thinking_mode": "Slower, better composition.",
    "negative_prompt": "What not to show.",
}


def build_schema(
    models: tuple[str, ...], model: str, max_n: int, max_references: int, expose: Sequence[str]
) -> type[BaseModel]:
    """Return the arguments that the model sees: a field with one choice is left out."""
    full = WanImageInput.model_fields
    fields: dict[str, Any] = {"prompt": (full["prompt"].rebuild_annotation(), full["prompt"])}
    if max_references:
        images = full["images"].asdict()["attributes"]
        limited = Annotated[Sequence[str], Field(max_length=max_references), BeforeValidator(list_of_one)]
        fields["images"] = (limited, Field(default=(), description=images["description"]))
    if max_n > 1:
        fields["n"] = (
            Annotated[int, Field(ge=1, le=max_n, strict=True)],
            Field(default=1, description=full["n"].description),
        )
    if len(models) > 1:
        choice: Any = Literal[models]
        fields["model"] = (choice, Field(default=model, description=full["model"].description))
    for name in expose:
        kind = ImageRequest.model_fields[name]
        fields[name] = (kind.rebuild_annotation(), Field(default=None, description=UPSTREAM[name]))
    made: type[BaseModel] = create_model(
        "WanImageInput", __config__=WanImageInput.model_config, __doc__=WanImageInput.__doc__, **fields
    )
    return made


def build_description(models: Sequence[str], prices: Mapping[str, Decimal], max_references: int) -> str:
    """Return what the tool does, what an image costs by each model, and how long it takes."""
    does = "Make an image from text"
    if max_references:
        does += ", edit one" + (" or combine several" if max_references > 1 else "") + " by id"
    shown = []
    for model in models:
        try:
            shown.append(f"${price_usd(model, prices=prices).normalize():f} ({model})")
        except InvalidImageRequestError:
            continue
    cost = f" Each image costs {', '.join(shown)}." if shown else ""
    return f"{does}.{cost} Takes 10 to 120 seconds."
