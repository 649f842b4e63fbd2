"""A chat model without a key: it answers with the lines of a script, so that an agent runs offline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

Answer = str | ToolCall | list[ToolCall] | AIMessage
Line = Answer | Callable[[list[BaseMessage]], Answer]


def call_tool(name: str, **args: Any) -> ToolCall:
    """Return a call of a tool, for the script of a `ScriptedChatModel`.

    Args:
        name: The name of the tool, such as `wan_image`.
        args: The arguments that the model passes to it.
    """
    return ToolCall(type="tool_call", id=f"call_{uuid4().hex[:16]}", name=name, args=args)


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers with its script, one line for each call, at once or streamed.

    Each line is one of these:

    - a string: the text of the answer;
    - `call_tool("wan_image", prompt="a fox")`: one tool call, or a list of them: parallel tool calls;
    - an `AIMessage`: the whole answer;
    - a function of the messages that the model receives, which returns one of the above.

    Attributes:
        script: The lines that are still to come; more can be appended at any time.
    """

    script: list[Any]  # of Line: pydantic must not copy or convert messages and functions

    _received: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def received(self) -> list[list[BaseMessage]]:
        """The messages of each call so far."""
        return self._received

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """Name the model in traces."""
        return LangSmithParams(**{"ls_model_name": "scripted", **super()._get_ls_params(stop, **kwargs)})

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools as other models do; the script decides when they are called."""
        schemas = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=schemas, tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  the base class's signature
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002  the same
        **kwargs: Any,  # noqa: ARG002  the same
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002  the base class's signature
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,  # noqa: ARG002  the same
    ) -> Iterator[ChatGenerationChunk]:
        for message in _split(self._answer(messages)):
            chunk = ChatGenerationChunk(message=message)
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        self._received.append(messages)
        if not self.script:
            raise ValueError(f"The script has no line for call {len(self._received)} of this ScriptedChatModel.")
        line = self.script.pop(0)
        answer = line(messages) if callable(line) else line
        if isinstance(answer, AIMessage):
            return answer.model_copy()  # LangChain gives it an id; a line may stand in the script twice
        if isinstance(answer, str):
            return AIMessage(answer)
        return AIMessage("", tool_calls=[answer] if isinstance(answer, dict) else answer)


def _split(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Split a message into chunks as providers send them: word by word, then each tool call in two pieces."""
    pieces = re.findall(r"\S+\s*|\s+", message.content) if isinstance(message.content, str) else [message.content]
    for piece in pieces:
        yield AIMessageChunk(content=piece, id=message.id)
    calls = [(call["name"], json.dumps(call["args"]), call["id"]) for call in message.tool_calls]
    calls += [(call["name"] or "", call["args"] or "", call["id"]) for call in message.invalid_tool_calls]
    for index, (name, args, call_id) in enumerate(calls):
        first = tool_call_chunk(name=name, args=args[:1], id=call_id, index=index)
        for part in (first, tool_call_chunk(args=args[1:], index=index)):
            yield AIMessageChunk(content="", tool_call_chunks=[part], id=message.id)
    yield AIMessageChunk(
        content="",
        id=message.id,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )
