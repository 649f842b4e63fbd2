"""WanImageMiddleware: a vision model sees the images of its conversation."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain.tools import ToolRuntime
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables.config import ensure_config

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._media.blocks import is_image_block
from langchain_wan._tool.conversation import Conversation, find_newest_human, find_shown_ids, is_human
from langchain_wan._tool.runtime import build_conversation, find_thread
from langchain_wan.errors import StoreError
from langchain_wan.store import WanStore
from langchain_wan.tools import WanImageTool

logger = logging.getLogger("langchain_wan")

INTRODUCTION = "These are the newest images, made small:"


class WanImageMiddleware(AgentMiddleware[Any, Any, Any]):
    """Let a vision model see what the tool made, and what each picture that the user attached is called.

    At the time of a model call, thumbnails of the newest images are added in one human message, and the name of each
    upload before it. The state keeps names only. Nothing is added where the model's profile says that it takes no
    images; a model without a profile gets them.

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
        """Call the model with the images."""
        if not _takes_images(request.model):
            return handler(request)
        return handler(request.override(messages=self._shown(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Do what `wrap_model_call` does without blocking the event loop."""
        if not _takes_images(request.model):
            return await handler(request)
        return await handler(request.override(messages=await in_thread(self._shown, request)))

    def _shown(self, request: ModelRequest[Any]) -> list[AnyMessage]:
        try:
            conversations = self._conversations(request)
            labelled = [_labelled(message, conversations) for message in request.messages]
            newest = self._newest(conversations)
        except StoreError:  # a picture that can't be shown is no reason to end a conversation
            logger.exception("the images of this conversation could not be shown")
            return request.messages
        if not newest:
            return labelled
        place = _place(next(reversed(newest)), labelled)
        return [*labelled[:place], _message(newest), *labelled[place:]]

    def _conversations(self, request: ModelRequest[Any]) -> list[Conversation]:
        tools = [self.tool] if self.tool else [one for one in request.tools if isinstance(one, WanImageTool)]
        runtime = _tool_runtime(request)
        if tools:
            return [tool.conversation(runtime) for tool in tools]
        thread_id = find_thread(runtime)
        if thread_id is None:
            return []
        return [build_conversation(runtime, self.store or WanStore.default(), thread_id, only_shown=False, urls=True)]

    def _newest(self, conversations: Sequence[Conversation]) -> dict[str, dict[str, Any]]:
        """Return the blocks of the newest images by their ids, the newest last."""
        attached = {upload.image_id for one in conversations for upload in one.uploads()}
        found: dict[str, dict[str, Any]] = {}
        for image_id in reversed(conversations[0].shown if conversations else {}):
            known = (one.known(image_id) for one in conversations)
            image = None if image_id in attached else next(filter(None, known), None)
            if image is not None and len(found) < self.show_last:
                try:
                    source = image if self.store is None else image.attached(self.store)
                    found[image_id] = source.content_block(self.max_side)
                except (StoreError, ValueError):  # its bytes are gone, or no picture
                    logger.warning("%s could not be shown", image_id, exc_info=True)
        return dict(reversed(found.items()))


def _message(blocks: Mapping[str, dict[str, Any]]) -> HumanMessage:
    content: list[str | dict[str, Any]] = [{"type": "text", "text": INTRODUCTION}]
    for image_id, block in blocks.items():
        content += [{"type": "text", "text": f"{image_id}:"}, block]
    return HumanMessage(content, additional_kwargs={"lc_source": "wan_image"})  # nobody said it


def _tool_runtime(request: ModelRequest[Any]) -> ToolRuntime[Any, Any]:
    """Return what a tool of this agent would be given, for functions of the runtime."""
    known: dict[str, Any] = {name: getattr(request.runtime, name, None) for name in _SHARED}
    return ToolRuntime(state=request.state, config=ensure_config(), tool_call_id=None, **known)


_SHARED = ("context", "store", "stream_writer", "execution_info", "server_info")


def _takes_images(model: BaseChatModel) -> bool:
    profile = getattr(model, "profile", None)
    return not profile or bool(profile.get("image_inputs"))


def _labelled(message: AnyMessage, conversations: Sequence[Conversation]) -> AnyMessage:
    if not is_human(message) or not isinstance(message.content, list):
        return message
    content: list[str | dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, dict) and is_image_block(block):
            uploads = [one.upload_of(block) for one in conversations]
            names = {one.name: None for one in uploads if one is not None and one.problem is None}
            content += [{"type": "text", "text": f"{name}:"} for name in names]
        content.append(block)
    return message.model_copy(update={"content": content})


def _place(image_id: str, messages: Sequence[AnyMessage]) -> int:
    """Return where the thumbnails stand: after the answers of the turn that first named the newest image."""
    asked = find_newest_human(messages)
    named = find_shown_ids(messages).get(image_id)
    if named is None:
        return len(messages) if asked is None else asked
    place = named + 1
    while place < len(messages) and isinstance(messages[place], ToolMessage):
        place += 1
    return place
