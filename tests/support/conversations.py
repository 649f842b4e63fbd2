"""What people, models and tools say in a conversation about images, and what was sent for it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from PIL import Image

from langchain_wan.sandbox.app import Sandbox
from tests.support.images import in_base64
from tests.support.scripted_model import ScriptedChatModel
from tests.support.services import posts

IMAGE_ID = re.compile(r"img_[0-9a-z]{13}")
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
Talk = Callable[..., dict[str, Any]]


def build_agent(tool: Any, *script: Any, **settings: Any) -> Any:
    return create_agent(ScriptedChatModel(script=list(script)), tools=[tool], **settings)


def attached(*pictures: bytes, text: str = "Look.") -> HumanMessage:
    """What a person says, with pictures."""
    blocks = [{"type": "image", "base64": in_base64(data), "mime_type": "image/png"} for data in pictures]
    return HumanMessage([{"type": "text", "text": text}, *blocks])


def answers(done: dict[str, Any]) -> list[ToolMessage]:
    return [message for message in done["messages"] if isinstance(message, ToolMessage)]


def ids_in(messages: Sequence[BaseMessage]) -> list[str]:
    """The ids that the model has read, each once."""
    texts = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
    return list(dict.fromkeys(name for text in texts for name in IMAGE_ID.findall(text)))


def sent_pictures(service: Sandbox, post: int = -1) -> list[bytes]:
    """The bytes of the references of a paid request."""
    content = posts(service)[post].json["messages"][0]["content"]
    uris = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    return [base64.b64decode(uri.partition(",")[2]) for uri in uris]


def seen_images(messages: Sequence[BaseMessage]) -> list[tuple[str, tuple[int, int]]]:
    """The label and the size of each picture that a model sees."""
    found = []
    for message in messages:
        blocks = message.content if isinstance(message.content, list) else []
        for before, block in zip([None, *blocks], blocks, strict=False):
            if isinstance(block, dict) and "base64" in block:
                label = before["text"] if isinstance(before, dict) and before["type"] == "text" else ""
                found.append((label, Image.open(io.BytesIO(base64.b64decode(block["base64"]))).size))
    return found
