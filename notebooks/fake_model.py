"""A fake chat model with scripted answers, so that the notebooks run without a key."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

_numbers = itertools.count(1)


class FakeChatModel(BaseChatModel):
    """Returns its answers in order; an answer that is a function receives the messages."""

    answers: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> FakeChatModel:  # noqa: ARG002  the base class's signature
        """Ignore the tools: the script says when to call them."""
        return self

    def add_answers(self, *answers: Any) -> None:
        """Add the next answers."""
        self.answers.extend(answers)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:  # noqa: ARG002  the same
        answer = self.answers.pop(0)
        answer = answer(messages) if callable(answer) else answer
        message = AIMessage(answer) if isinstance(answer, str) else answer
        return ChatResult(generations=[ChatGeneration(message=message)])


def call_tool(**arguments: Any) -> AIMessage:
    """Return a message that calls the image tool."""
    call = {"type": "tool_call", "id": f"call_{next(_numbers)}", "name": "wan_image", "args": arguments}
    return AIMessage("", tool_calls=[call])


def find_last_id(messages: Sequence[BaseMessage]) -> str:
    """Return the id of the newest image, read from the tool's answers as a model reads it."""
    answers = [message.text for message in messages if message.type == "tool"]
    lines = [line for answer in answers for line in answer.splitlines() if line.startswith("img_")]
    return lines[-1].split()[0]


def count_images(messages: Sequence[BaseMessage]) -> int:
    """Count the images that the model receives."""
    contents = [message.content for message in messages if isinstance(message.content, list)]
    blocks = [block for content in contents for block in content if isinstance(block, dict)]
    return sum(block.get("type") in ("image", "image_url") for block in blocks)
