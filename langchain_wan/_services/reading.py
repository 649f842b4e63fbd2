"""The images of an answer: where they are documented, and else wherever a person would see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_wan._media.large_json import read_whole
from langchain_wan._net.messages import Reply
from langchain_wan._services import image_prose, image_search, image_text
from langchain_wan._services.answer import Answer, ImagePart
from langchain_wan._services.foreign_text import make_storable
from langchain_wan._services.inputs import Inputs, mark_text
from langchain_wan._services.payload import find_request_id

MAX_NOTE = 2000  # characters
MAX_CHOICES = 1000


def read_images(reply: Reply, values: Sequence[Any], inputs: Inputs) -> Answer:
    """Return what the values of an answer hold: the images of its choices, or else those that stand elsewhere."""
    images: list[ImagePart] = []
    notes: list[str] = []
    for value in values:
        choices = value.get("choices") if isinstance(value, dict) else None
        earlier = {_mark(image) for image in images}  # a stream may say everything again with each event
        for choice in choices[:MAX_CHOICES] if isinstance(choices, list) else []:
            read = _read_choice(choice, inputs)
            images += [image for image in read.images if _mark(image) not in earlier]
            notes += [note for note in read.notes if value is values[0] or note not in notes]
    if all(image.is_empty for image in images):
        images = image_search.find_images([_without_choices(value) for value in values], inputs) or images
    first = next((value for value in values if isinstance(value, dict)), {})
    usage, model = first.get("usage"), first.get("model")
    return Answer(
        tuple(images),
        tuple(notes),
        make_storable(usage) if isinstance(usage, dict) else {},
        find_request_id(reply, first),
        make_storable(model) if isinstance(model, str) else None,
    )


def _mark(image: ImagePart) -> str:
    return mark_text(image.url or image.data or "")


def _without_choices(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: inner for name, inner in value.items() if name != "choices"}
    return {"content": value} if isinstance(value, str) else value


@dataclass
class _Read:
    """What a choice holds; `texts` are those that may show an image."""

    images: list[ImagePart] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _read_choice(choice: Any, inputs: Inputs) -> _Read:
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    read = _Read()
    if isinstance(message, dict) and message.get("role") in image_search.OTHER_ROLES:
        return read
    for part in content if isinstance(content, list) else [content]:
        _read_part(part, read, inputs)
    _drop_inputs(read, inputs)
    if all(image.is_empty for image in read.images):
        read.images = image_search.find_images(choice, inputs) or read.images
    if isinstance(message, dict) and isinstance(message.get("refusal"), str):
        read.texts.append(message["refusal"])
    read.notes = [note for note in map(_make_note, read.texts) if note]
    return read


def _read_part(part: Any, read: _Read, inputs: Inputs) -> None:
    if isinstance(part, str):
        image = image_text.read_value(part)
        if image is None:
            read.texts.append(part)
        else:
            read.images.append(image)
        return
    if not isinstance(part, dict):
        return
    values = [part.get(name) for name in ("image", "image_url", "url", "b64_json")]
    texts = [value.get("url") if isinstance(value, dict) else value for value in values]
    text = next((text for text in texts if isinstance(text, str) and text), None)
    if text is not None:
        image = image_text.read_value(text)
        read.images += [image] if image else image_prose.find_images(text)[0] or [ImagePart(data=text)]
    elif isinstance(part.get("text"), str):
        _read_part(part["text"], read, inputs)
    elif part.get("type") in ("image", "image_url"):
        read.images += image_search.find_images(part, inputs) or [ImagePart()]  # announced, and perhaps billed


def _drop_inputs(read: _Read, inputs: Inputs) -> None:
    """Drop input images that the answer repeats. If nothing else came, bytes that are the same may be the result."""
    others = [image for image in read.images if not inputs.contain(image.url or image.data or "")]
    echoes = [image for image in read.images if image.url is None and image not in others]
    read.images = others or echoes


def _make_note(text: str) -> str:
    """Return a text without its images, short enough to keep."""
    rest = image_prose.find_images(text)[1] if len(text) > MAX_NOTE or "://" in text or "base64" in text else text
    return str(make_storable(read_whole(rest)[:MAX_NOTE])) if rest.strip() else ""
