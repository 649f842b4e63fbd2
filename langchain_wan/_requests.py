"""What is asked for: one request, validated before anything is done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
)

from langchain_wan._sources import Source, describe_source
from langchain_wan.errors import InvalidImageRequestError

# Source: https://aisa.one/docs/api-reference/chat/image-generation (2026-04-22): n is 1..4.
MAX_N = 4
# Source: https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference (2026-05-30):
# up to 9 images; text over 5,000 characters is cut silently, so it is refused here.
MAX_REFERENCES = 9
MAX_PROMPT = 5000
MAX_SEED = 2_147_483_647


def _is_no_blank(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("the prompt is empty")
    return prompt


# Half of a surrogate pair, which no encoding can send, is refused by `StrictStr`.
Prompt = Annotated[StrictStr, Field(min_length=1, max_length=MAX_PROMPT), AfterValidator(_is_no_blank)]


class ImageRequest(BaseModel):
    """One image generation (`images` empty), edit (one image) or combination (several).

    `size`, `seed`, `watermark`, `thinking_mode` and `negative_prompt` are parameters of Wan itself. AIsa's page
    does not list them: they are sent only when set, and the service may ignore or refuse them.

    Attributes:
        prompt: What to make, or how to change the images; 1 to 5,000 characters.
        images: Up to nine input images, in the order in which the prompt counts them.
        n: How many images to make, 1 to 4; each is paid.
        model: None means the model of the tool, generator or client that gets the request.
        size: `"1K"`, `"2K"`, `"4K"` or `"1280*720"`.
        seed: 0 to 2147483647; the same seed gives a similar picture, not always the same one.
        extra_body: Further top-level fields of the request.
        operation_id: A name for this paid call: while it is known, the same name is never paid twice.
        metadata: Kept with the result; never sent.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )

    prompt: Prompt
    images: Annotated[Sequence[Source], Field(max_length=MAX_REFERENCES), AfterValidator(tuple)] = ()
    n: Annotated[StrictInt, Field(ge=1, le=MAX_N), BeforeValidator(lambda n: 1 if n is None else n)] = 1
    model: Annotated[StrictStr, Field(min_length=1, max_length=200)] | None = None
    size: Annotated[StrictStr, Field(pattern=r"^([124]K|[0-9]{2,5}[*xX][0-9]{2,5})$")] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] | None = None
    watermark: StrictBool | None = None
    thinking_mode: StrictBool | None = None
    negative_prompt: Annotated[StrictStr, Field(max_length=500)] | None = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    operation_id: Annotated[StrictStr, Field(min_length=1, max_length=200)] | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @field_validator("images", mode="before")
    @classmethod
    def _one_image_is_a_list_of_one(cls, value: Any) -> Any:
        if value is None:
            return ()
        return value if isinstance(value, list | tuple) else (value,)

    @field_validator("extra_body")
    @classmethod
    def _typed_fields_stay_typed(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted({"model", "messages", "n", "stream"} & value.keys())
        if taken:
            raise ValueError(f"extra_body can't set {', '.join(taken)}")
        try:
            json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError):
            raise ValueError("extra_body has to be JSON") from None
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Cut the signatures off the URLs."""
        for name, value in super().__repr_args__():
            shown = tuple(describe_source(source).partition("?")[0] for source in self.images)
            yield name, shown if name == "images" else value


def invalid_request(error: ValidationError) -> InvalidImageRequestError:
    """Return the error that says in one line what is wrong with a request, without quoting it."""
    found = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'request'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)[:5]
    )
    return InvalidImageRequestError(
        f"The image request is not valid: {found}.", next_step="Correct it.", advice=f"Not valid: {found}."
    )
