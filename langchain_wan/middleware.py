"""WanImageMiddleware: a vision model sees the images of its conversation."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain.tools import ToolRuntime
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables.config import ensure_config

from langchain_wan._concurrency.executor import in_image_thread
from langchain_wan._text.logs import logger
from langchain_wan._tool.conversation import Conversation, find_image_ids
from langchain_wan._tool.messages import find_newest_human, read_messages
from langchain_wan._tool.runtime import build_conversation, find_thread_scope
from langchain_wan.errors import StoreError
from langchain_wan.store import WanStore
from langchain_wan.tools import WanImageTool

INTRODUCTION = "These are the newest images, made small:"


class WanImageMiddleware(AgentMiddleware[Any, Any, Any]):
    """Let a vision model see what the tool made, and tell every model what each image that the user attached is called.

    At the time of a model call, the name of each upload is added as text before it, and thumbnails of the newest images
    in one human message. The state keeps names only. There are no thumbnails for a model whose profile says that it
    takes no images; a model whose profile says nothing of images gets them.

    Example:
        ```python
        agent = create_agent(model, tools=[WanImageTool()], middleware=[WanImageMiddleware()])
        ```

    Args:
        show_last: How many of the newest images are shown.
        max_side: Pixels of the longer side of a thumbnail.
        store: Where the bytes are; None means the store of each tool, else the default store.
        tool: The tool whose names are shown; None means those among the agent's tools. A supervisor, whose sub-agents
            have the tool, needs it. With neither, names of the thread are looked up in the store.
    """

    def __init__(
        self,
        show_last: int = 2,
        max_side: int = 512,
        store: WanStore | None = None,
        tool: WanImageTool | None = None,
    ) -> None:
        super().__init__()
        self.show_last = show_last
        self.max_side = max_side
        self.store = store
        self.tool = tool

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model with the names and the images."""
        return handler(request.override(messages=self._add_images(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Async version of `wrap_model_call`."""
        return await handler(request.override(messages=await in_image_thread(self._add_images, request)))

    def _add_images(self, request: ModelRequest[Any]) -> list[AnyMessage]:
        try:
            conversations = self._conversations(request)
            labelled = _add_labels(request.messages, conversations)
            newest = self._find_newest(conversations) if _takes_images(request.model) else {}
        except StoreError:  # an image that can't be shown is no reason to end a conversation
            logger.exception("the images of this conversation could not be shown")
            return request.messages
        if not newest:
            return labelled
        return _add_thumbnails(labelled, newest, after_tools=not _is_strict(request.model))

    def _conversations(self, request: ModelRequest[Any]) -> list[Conversation]:
        tools = [self.tool] if self.tool else [tool for tool in request.tools if isinstance(tool, WanImageTool)]
        runtime = _tool_runtime(request)
        if tools:
            return [tool.conversation(runtime) for tool in tools]
        scope = find_thread_scope(runtime)
        if scope is None:
            return []
        return [build_conversation(runtime, self.store or WanStore.default(), scope, only_visible=False, urls="pass")]

    def _find_newest(self, conversations: Sequence[Conversation]) -> dict[str, dict[str, Any]]:
        """Return the blocks of the newest images by their ids, the newest last."""
        usable: set[str | None] = {image_id for conversation in conversations for image_id in conversation.usable_ids()}
        usable -= {upload.image_id for conversation in conversations for upload in conversation.uploads()}
        blocks: dict[str, dict[str, Any]] = {}
        visible = conversations[0].visible_ids if conversations else {}
        for image_id in reversed([image_id for image_id in visible if image_id in usable]):
            if len(blocks) == self.show_last:
                break
            image = next(filter(None, (conversation.known(image_id) for conversation in conversations)), None)
            if image is not None:
                try:
                    source = image if self.store is None else image.attached(self.store)
                    blocks[image_id] = source.content_block(self.max_side)
                except (StoreError, ValueError):  # its bytes are gone, or are not an image
                    logger.warning("%s could not be shown", image_id, exc_info=True)
        return dict(reversed(blocks.items()))


def _add_thumbnails(
    messages: list[AnyMessage], blocks: Mapping[str, dict[str, Any]], *, after_tools: bool
) -> list[AnyMessage]:
    content: list[str | dict[str, Any]] = [{"type": "text", "text": INTRODUCTION}]
    for image_id, block in blocks.items():
        content += [{"type": "text", "text": f"{image_id}:"}, block]
    newest_human = find_newest_human(read_messages(messages))
    if not after_tools and newest_human is not None:  # before what the user wrote last, in the same message
        message = messages[newest_human]
        own = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
        merged = message.model_copy(update={"content": [*content, *own]})
        return [*messages[:newest_human], merged, *messages[newest_human + 1 :]]
    index = _find_index(list(blocks)[-1], messages)
    message = HumanMessage(content, additional_kwargs={"lc_source": "wan_image"})  # nobody wrote it
    return [*messages[:index], message, *messages[index:]]


def _tool_runtime(request: ModelRequest[Any]) -> ToolRuntime[Any, Any]:
    """Return what a tool of this agent would get, for functions of the runtime."""
    known: dict[str, Any] = {name: getattr(request.runtime, name, None) for name in _SHARED}
    return ToolRuntime(state=request.state, config=ensure_config(), tool_call_id=None, **known)


_SHARED = ("context", "store", "stream_writer", "execution_info", "server_info")


def _takes_images(model: BaseChatModel) -> bool:
    profile = getattr(model, "profile", None)
    return not isinstance(profile, Mapping) or profile.get("image_inputs") is not False


# Mistral's models refuse a user message right after a tool message (HTTP 400, code 3230), behind other gateways too:
# https://github.com/langchain-ai/langchain/issues/22928 (2024-06), https://github.com/NousResearch/hermes-agent/issues/20154
# (2026-05).
_STRICT_MODELS = re.compile("mistral|ministral|magistral|devstral|codestral|pixtral|voxtral")


def _is_strict(model: BaseChatModel) -> bool:
    names = (getattr(model, name, None) for name in ("_llm_type", "model_name", "model"))
    return any(isinstance(name, str) and _STRICT_MODELS.search(name.lower()) for name in names)


def _add_labels(messages: Sequence[AnyMessage], conversations: Sequence[Conversation]) -> list[AnyMessage]:
    names: list[dict[int, set[str]]] = [{} for _ in messages]
    for conversation in conversations:
        for known, labels in zip(names, conversation.label(messages), strict=True):
            for block, name in labels.items():
                known.setdefault(block, set()).add(name)
    return [_add_label(message, known) for message, known in zip(messages, names, strict=True)]


def _add_label(message: AnyMessage, names: Mapping[int, set[str]]) -> AnyMessage:
    if not names or not isinstance(message.content, list):
        return message
    content: list[str | dict[str, Any]] = []
    for index, block in enumerate(message.content):
        content += [{"type": "text", "text": f"{name}:"} for name in sorted(names.get(index, ()))]
        content.append(block)
    return message.model_copy(update={"content": content})


def _find_index(image_id: str, messages: Sequence[AnyMessage]) -> int:
    """Return where the thumbnails stand: after the answers of the turn that first named the newest image."""
    known = read_messages(messages)
    newest_human = find_newest_human(known)
    named = find_image_ids(known).get(image_id)
    if named is None:
        return len(messages) if newest_human is None else newest_human
    index = named + 1
    while index < len(messages) and known[index].role == "tool":
        index += 1
    return index
