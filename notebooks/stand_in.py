"""A stand-in for a chat model, so that the notebooks run without a key: it says what one would say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class StandIn(BaseChatModel):
    """Says its lines one after the other; a line that is a function is given what the model reads."""

    lines: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> StandIn:  # noqa: ARG002  as chat models are called
        """Take the tools; this model knows when to call them."""
        return self

    def says(self, *lines: Any) -> None:
        """Learn the next lines."""
        self.lines.extend(lines)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002  the same
        line = self.lines.pop(0)
        said = line(messages) if callable(line) else line
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(said) if isinstance(said, str) else said)]
        )


def draws(**arguments: Any) -> AIMessage:
    """Return a message that calls the image tool."""
    calls = [
        {
            "name": "wan_image",
            "args": arguments,
            "id": f"call_{len(str(arguments))}",
            "type": "tool_call",
        }
    ]
    return AIMessage("", tool_calls=calls)


def last_id(messages: Sequence[BaseMessage]) -> str:
    """Return the newest image's id, as a model reads it in the tool's answers."""
    answers = [message.text for message in messages if message.type == "tool"]
    lines = [line for answer in answers for line in answer.splitlines() if line.startswith("img_")]
    return lines[-1].split()[0]


def pictures_in(messages: Sequence[BaseMessage]) -> int:
    """Count the pictures that a model sees."""
    contents = [message.content for message in messages if isinstance(message.content, list)]
    blocks = [block for content in contents for block in content if isinstance(block, dict)]
    return sum(block.get("type") in ("image", "image_url") for block in blocks)
