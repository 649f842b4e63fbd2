"""A fake chat model with scripted answers, so that the notebooks run without a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class StandIn(BaseChatModel):
    """Answers with its lines one after the other; a line that is a function receives the messages."""

    lines: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> StandIn:  # noqa: ARG002  as chat models are called
        """Ignore the tools: the script says when to call them."""
        return self

    def says(self, *lines: Any) -> None:
        """Set the next lines."""
        self.lines.extend(lines)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002  the same
        line = self.lines.pop(0)
        answer = line(messages) if callable(line) else line
        message = AIMessage(answer) if isinstance(answer, str) else answer
        return ChatResult(generations=[ChatGeneration(message=message)])


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
    """Return the id of the newest image, read from the tool's answers as a model reads it."""
    answers = [message.text for message in messages if message.type == "tool"]
    lines = [line for answer in answers for line in answer.splitlines() if line.startswith("img_")]
    return lines[-1].split()[0]


def pictures_in(messages: Sequence[BaseMessage]) -> int:
    """Count the images that the model receives."""
    contents = [message.content for message in messages if isinstance(message.content, list)]
    blocks = [block for content in contents for block in content if isinstance(block, dict)]
    return sum(block.get("type") in ("image", "image_url") for block in blocks)
