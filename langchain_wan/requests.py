"""What is asked for: one request, validated before anything is done."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias, runtime_checkable

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from langchain_wan._media.blocks import block_source, is_image_block
from langchain_wan._text.control_characters import has_control
from langchain_wan.errors import InvalidImageRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image


# Source: https://aisa.one/docs/api-reference/chat/image-generation (2026-04-22): n is 1..4.
MAX_N = 4
# Source: https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference (2026-05-30):
# up to 9 images; text over 5,000 characters is cut silently, so it is refused here.
MAX_REFERENCES = 9
MAX_PROMPT = 5000
MAX_NEGATIVE_PROMPT = 500
MAX_SEED = 2_147_483_647
MAX_RATIO = 8  # of the longer side to the shorter
MAX_METADATA = 100_000  # characters; it stands in each checkpoint

_SIZE = re.compile(r"[124]K|(?:[124]K )?([0-9]{1,2}):([0-9]{1,2})|[0-9]{2,5}[*xX][0-9]{2,5}")


def _check_prompt(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("the prompt is empty")
    return _check_text(prompt, MAX_PROMPT)


def _check_text(text: str, longest: int) -> str:
    if len(text) > longest:
        raise ValueError(f"{len(text):,} characters, at most {longest:,} are accepted")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it contains a lone surrogate, which no encoding can send") from None
    return text


def _check_size(size: str) -> str:
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(
            'accepted values are "1K", "2K", "4K", a ratio such as "16:9" or "1K 16:9", and width*height in pixels, '
            'such as "1280*720"'
        )
    if match[1] and not int(match[2]) <= int(match[1]) * MAX_RATIO <= int(match[2]) * MAX_RATIO**2:
        raise ValueError("a ratio is from 1:8 to 8:1")
    return size


def _check_id(name: str) -> str:
    if has_control(name):
        raise ValueError("an id is one line, without control characters")
    return name


def _check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    _check_text("".join(text for pair in metadata.items() for text in pair), MAX_METADATA)
    return metadata


Prompt = Annotated[StrictStr, AfterValidator(_check_prompt)]


class ImageRequest(BaseModel):
    """One image generation (`images` empty), edit (one image) or combination (several).

    `size`, `seed`, `watermark`, `thinking_mode` and `negative_prompt` are parameters of Wan itself. AIsa's page
    does not list them: they are sent only when set, and the service may ignore or refuse them.

    Attributes:
        prompt: What to make, or how to change the images; 1 to 5,000 characters.
        images: Up to nine input images, in the order in which the prompt counts them.
        n: How many images to make, 1 to 4; each is paid.
        model: None means the model of the tool, generator or client that gets the request.
        size: `"1K"`, `"2K"`, `"4K"`, a ratio from 1:8 to 8:1 such as `"16:9"` (the largest that the model makes), both
            (`"1K 16:9"`), or width and height in pixels, `"1280*720"`.
        seed: 0 to 2147483647; the same seed gives a similar image, not always the same one.
        extra_body: Further top-level fields of the request.
        operation_id: A name for this paid call: while it is known, the same name is never paid twice.
        metadata: Kept with the result; never sent. At most 100,000 characters.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )

    prompt: Prompt
    images: Annotated[Sequence[Source], Field(max_length=MAX_REFERENCES), AfterValidator(tuple)] = ()
    n: Annotated[StrictInt, Field(ge=1, le=MAX_N), BeforeValidator(lambda n: 1 if n is None else n)] = 1
    model: Annotated[StrictStr, Field(min_length=1, max_length=200)] | None = None
    size: Annotated[StrictStr, AfterValidator(_check_size)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=MAX_SEED)] | None = None
    watermark: StrictBool | None = None
    thinking_mode: StrictBool | None = None
    negative_prompt: (
        Annotated[StrictStr, AfterValidator(lambda text: _check_text(text, MAX_NEGATIVE_PROMPT))] | None
    ) = None
    extra_body: dict[str, Any] = Field(default_factory=dict)
    operation_id: Annotated[StrictStr, Field(min_length=1, max_length=200), AfterValidator(_check_id)] | None = None
    metadata: Annotated[dict[str, str], AfterValidator(_check_metadata)] = Field(default_factory=dict)

    @field_validator("images", mode="before")
    @classmethod
    def _read_images(cls, value: Any) -> Any:
        if value is None:
            return ()
        value = getattr(value, "images", value)  # of an ImageResult
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
            raise ValueError("extra_body must be JSON") from None
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Cut the signatures off the URLs."""
        for name, value in super().__repr_args__():
            images = tuple(describe_source(source).partition("?")[0] for source in self.images)
            yield name, images if name == "images" else value


def invalid_request(error: ValidationError) -> InvalidImageRequestError:
    """Return the error that says in one line what is wrong with a request.

    It quotes only short values of the parameters that have few: a prompt or an image may be long, or private.
    """
    problems = "; ".join(_describe(problem, error.title) for problem in error.errors(include_url=False)[:5])
    return InvalidImageRequestError(f"The image request is not valid: {problems}.", advice=f"Not valid: {problems}.")


# Instead of pydantic's own words, with the values of its context.
_SENTENCES = {
    "missing": "it is missing",
    "less_than_equal": "at most {le} is accepted",
    "greater_than_equal": "at least {ge} is accepted",
    "int_type": "a whole number is expected",
    "string_type": "text is expected",
    "bool_type": "true or false is expected",
    "too_long": "{actual_length} were passed, at most {max_length} are accepted",
    "string_too_long": "at most {max_length} characters are accepted",
    "string_too_short": "it is empty",
}
_QUOTED = {"n", "size", "seed"}
_LONGEST_QUOTE = 40  # characters


def _describe(problem: Any, title: str) -> str:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).removeprefix(".")
    if problem["type"] == "extra_forbidden":
        known = ImageRequest.model_fields if title == ImageRequest.__name__ else ()
        near = difflib.get_close_matches(field, known, n=1)
        return f"{field}: there is no such parameter{f' (did you mean {near[0]}?)' if near else ''}"
    sentence = _SENTENCES.get(problem["type"], "").format(**problem.get("ctx", {}))
    value = repr(problem["input"]) if field in _QUOTED and isinstance(problem["input"], str | int | float) else ""
    got = f"; got {value}" if value and len(value) <= _LONGEST_QUOTE else ""
    return f"{field or 'request'}: {sentence or problem['msg'].removeprefix('Value error, ')}{got}"


@runtime_checkable
class StoredImage(Protocol):
    """An image that has an id: a `GeneratedImage`."""

    id: str
    sha256: str


LONGEST_NAME = 4096  # characters


class InlineImage:
    """An image given as bytes or as a data URI; shown by digest and size, never by content."""

    def __init__(self, content: bytes | str) -> None:
        self.content = content

    def __repr__(self) -> str:
        """Show the digest and the size."""
        return self._description

    @cached_property
    def _description(self) -> str:
        raw = self.content if isinstance(self.content, bytes) else self.content.encode(errors="replace")
        kind = "bytes" if isinstance(self.content, bytes) else "characters of data URI"
        return f"<{len(raw):,} {kind}, sha256 {hashlib.sha256(raw).hexdigest()[:16]}>"

    def _asdict(self) -> dict[str, bytes | str]:
        # LangGraph's checkpointers keep an object with this method whole; dumps and traces show its description.
        return {"content": self.content}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InlineImage) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


_DESCRIPTION = re.compile(r"<(?:[0-9,]+ (?:bytes|characters of data URI), sha256 [0-9a-f]{16}|file .*|PIL image .*)>")


def is_pil_image(value: object) -> bool:
    """Say whether a value is a Pillow image, without importing Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _as_source(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return InlineImage(bytes(value))
    if isinstance(value, str):
        if _DESCRIPTION.fullmatch(value):
            raise ValueError(
                f"{value} only describes an image: JSON of a request holds no bytes; store the image first"
            )
        # What is longer than any URL is not a reference; it is kept out of traces, and refused when it is resolved.
        return InlineImage(value) if value[:5].lower() == "data:" or len(value) > LONGEST_NAME else value
    if isinstance(value, dict):
        return _from_dict(value)
    if isinstance(value, Path | InlineImage | StoredImage) or is_pil_image(value):
        return value
    expected = "an image is an id, a URL, a data URI, bytes, a Path, a PIL image or a GeneratedImage"
    raise ValueError(f"{expected}; got {type(value).__name__}")


def _from_dict(value: dict[str, Any]) -> Any:
    if is_image_block(value):
        source = block_source(value)
        if source is None:
            raise ValueError("this image block holds no image, only a reference to a provider's file store")
        return _as_source(source)
    # What a checkpointer that builds no classes makes of a `GeneratedImage` and of an `InlineImage`.
    kept = value.get("id") if "sha256" in value else value.get("content")
    if isinstance(kept, str | bytes):
        return _as_source(kept)
    raise ValueError("this dict is not an image block")


def describe_source(source: Any) -> str:
    """Name an input image in a few characters, the same for identical images: what traces and fingerprints hold."""
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
    PlainSerializer(describe_source, return_type=str, when_used="json"),  # without JSON, checkpointers keep the image
    WithJsonSchema({"type": "string", "description": "An image id, a URL or a data URI."}),
]
ImageSource: TypeAlias = "str | Path | bytes | bytearray | memoryview | Image.Image | StoredImage | Mapping[str, Any]"
