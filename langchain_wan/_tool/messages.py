"""Messages in every form in which a graph, a client or a converter keeps them, read as one.

LangChain's messages, dicts of OpenAI and of RemoteGraph, serialised messages, pairs of role and text, and the messages
of front ends with `parts` and attachments. Nothing here fails: a client may have posted anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import ValidationError

from langchain_wan._media.blocks import find_text, is_image_block
from langchain_wan._storage.ids import belongs_to
from langchain_wan.models import GeneratedImage

_ROLES = {
    **dict.fromkeys(("human", "user", "humanmessage", "humanmessagechunk"), "human"),
    **dict.fromkeys(("ai", "assistant", "model", "aimessage", "aimessagechunk"), "ai"),
    **dict.fromkeys(("tool", "function", "toolmessage", "toolmessagechunk", "functionmessage"), "tool"),
}
# Where dicts keep files beside the content: `parts` of the AI SDK and of Google, attachments, and Ollama's images.
_BESIDE = ("parts", "experimental_attachments", "attachments", "images")


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    Attributes:
        role: `"human"`, `"ai"`, `"tool"`, or `""` for any other.
        inserted: Whether middleware inserted it, such as a summary: nobody said it.
        blocks: The content blocks that are dicts, each with its index in the content.
    """

    role: str = ""
    id: str | None = None
    inserted: bool = False
    text: str = ""
    blocks: Sequence[tuple[int, Mapping[str, Any]]] = field(default=(), repr=False)
    tool_calls: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    artifact: Any = field(default=None, repr=False)

    @property
    def is_human(self) -> bool:
        """Whether a person wrote it."""
        return self.role == "human" and not self.inserted

    @property
    def image_blocks(self) -> list[tuple[int, Mapping[str, Any]]]:
        """The content blocks that show an image, each with its index."""
        return [(index, block) for index, block in self.blocks if is_image_block(block)]

    @cached_property
    def made(self) -> list[GeneratedImage]:
        """The images that its artifact says a tool made; a client may have written it."""
        images = self.artifact.get("images") if isinstance(self.artifact, Mapping) else None
        return list(filter(None, map(_read_image, images))) if isinstance(images, list) else []


def _read_image(facts: Any) -> GeneratedImage | None:
    try:
        image = GeneratedImage.model_validate(facts)
    except ValidationError:
        return None
    return image if belongs_to(image.id, image.sha256) else None


def read_messages(values: Sequence[Any]) -> list[Message]:
    """Return messages of any form, one for each value."""
    return [read_message(value) for value in values]


def read_message(value: Any) -> Message:
    """Return a message of any form; an empty one for what is not a message."""
    if isinstance(value, BaseMessage):
        return _read_fields(_find_role(value), vars(value))
    if isinstance(value, Mapping):
        return _read_dict(value)
    if isinstance(value, str):
        return Message("human", text=value)
    if isinstance(value, list | tuple):
        return _read_fields(value[0], {"content": value[1]}) if len(value) == 2 else Message()  # noqa: PLR2004  role, content
    names = ("id", "content", "tool_calls", "artifact", "additional_kwargs")
    return _read_fields(_find_role(value), {name: getattr(value, name, None) for name in names})


def _read_dict(value: Mapping[str, Any]) -> Message:
    if isinstance(value.get("kwargs"), Mapping) and value.get("type") == "constructor":  # serialised by LangChain
        path = value.get("id")
        return _read_fields(path[-1] if isinstance(path, list) and path else "", value["kwargs"])
    if isinstance(value.get("data"), Mapping):  # by `messages_to_dict`
        return _read_fields(value.get("type"), value["data"])
    return _read_fields(value.get("role") or value.get("type"), value)


def _find_role(value: Any) -> Any:
    kind = getattr(value, "type", None)
    return getattr(value, "role", None) if kind in {None, "chat", "ChatMessageChunk"} else kind


def _read_fields(role: Any, fields: Mapping[str, Any]) -> Message:
    content, extra = fields.get("content"), fields.get("additional_kwargs")
    message_id = fields.get("id")
    return Message(
        role=_ROLES.get(role.lower(), "") if isinstance(role, str) else "",
        id=str(message_id) if isinstance(message_id, str | int) and message_id != "" else None,
        inserted=isinstance(extra, Mapping) and "lc_source" in extra,
        text=find_text(content if content is not None else fields.get("parts")),
        blocks=tuple(_read_blocks(content, fields)),
        tool_calls=tuple(_read_calls(fields.get("tool_calls"))),
        artifact=fields.get("artifact"),
    )


def _read_blocks(content: Any, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    blocks = content if isinstance(content, list | tuple) else [content]
    index = len(blocks)
    if isinstance(content, str):  # most messages are text
        blocks = ()
    yield from ((position, block) for position, block in enumerate(map(_to_dict, blocks)) if block is not None)
    for name in _BESIDE:
        beside = fields.get(name)
        for value in beside if isinstance(beside, list | tuple) else ():
            block = {"type": "image", "data": value} if name == "images" and isinstance(value, str) else _to_dict(value)
            if block is not None:
                yield index, block if "type" in block or name == "parts" else {"type": "file", **block}
                index += 1


def _to_dict(block: Any) -> Mapping[str, Any] | None:
    if isinstance(block, Mapping):
        return block
    dump = getattr(block, "model_dump", None)
    dumped = dump() if callable(dump) and not isinstance(block, type) else None
    return dumped if isinstance(dumped, Mapping) else None


def _read_calls(calls: Any) -> Iterator[Mapping[str, Any]]:
    for call in calls if isinstance(calls, list | tuple) else ():
        if not isinstance(call, Mapping):
            continue
        function = call.get("function")
        if isinstance(function, Mapping):  # OpenAI's form, whose arguments are JSON text
            yield {"id": call.get("id"), "name": function.get("name"), "args": _parse(function.get("arguments"))}
        else:
            yield call


def _parse(arguments: Any) -> Any:
    try:
        return json.loads(arguments)
    except (TypeError, ValueError, RecursionError):
        return arguments


def find_newest_human(messages: Sequence[Message]) -> int | None:
    """Return the index of the newest message that a person wrote."""
    return next((index for index in range(len(messages) - 1, -1, -1) if messages[index].is_human), None)
