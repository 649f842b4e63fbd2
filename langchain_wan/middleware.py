"""WanImageMiddleware: a vision model sees the images of its conversation."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables.config import ensure_config

from langchain_wan._blocks import is_image_block
from langchain_wan._conversation import Conversation, newest_of_a_person, of_a_person, shown_in
from langchain_wan._executor import in_thread
from langchain_wan._runtime import configurable_of, conversation_of
from langchain_wan.errors import StoreError
from langchain_wan.models import GeneratedImage
from langchain_wan.store import ImageStore
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
        store: Where the images are; None means the store of the `WanImageTool` among the agent's tools, else the
            default store. A supervisor, whose sub-agents have the tool, needs theirs.
    """

    def __init__(self, show_last: int = 2, max_side: int = 512, store: ImageStore | None = None) -> None:
        super().__init__()
        self.show_last = show_last
        self.max_side = max_side
        self.store = store

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
        tool = next((one for one in request.tools if isinstance(one, WanImageTool)), None)
        conversation = self._conversation(request, tool)
        if conversation is None:
            return request.messages
        try:
            urls = tool is None or tool.reference_urls != "refuse"
            labelled = [_labelled(message, conversation, urls=urls) for message in request.messages]
            newest = self._newest(conversation, self.store or (None if tool is None else tool.store))
        except StoreError:  # a picture that can't be shown is no reason to end a conversation
            logger.exception("the images of this conversation could not be shown")
            return request.messages
        if not newest:
            return labelled
        place = _place(newest[-1].id, labelled)
        return [*labelled[:place], self._message(newest), *labelled[place:]]

    def _conversation(self, request: ModelRequest[Any], tool: WanImageTool | None) -> Conversation | None:
        context = getattr(request.runtime, "context", None)
        runtime = SimpleNamespace(state=request.state, context=context, config=ensure_config(), tool_call_id=None)
        if tool is not None:
            return tool.conversation(runtime)
        thread_id = configurable_of(runtime).get("thread_id")
        store = self.store or ImageStore.default()
        return conversation_of(runtime, store, str(thread_id), only_shown=False) if thread_id else None

    def _newest(self, conversation: Conversation, store: ImageStore | None) -> list[GeneratedImage]:
        attached = {upload.image_id for upload in conversation.uploads()}
        found: list[GeneratedImage] = []
        for image_id in reversed(conversation.shown):
            image = None if image_id in attached else conversation.known(image_id)
            if len(found) < self.show_last and image is not None:
                source = store or ImageStore.default()
                found += [image.attached(source)] if source.read(image.sha256) is not None else []
        return found[::-1]

    def _message(self, images: Sequence[GeneratedImage]) -> HumanMessage:
        blocks: list[str | dict[str, Any]] = [{"type": "text", "text": INTRODUCTION}]
        for image in images:
            blocks += [{"type": "text", "text": f"{image.id}:"}, image.content_block(self.max_side)]
        return HumanMessage(blocks, additional_kwargs={"lc_source": "wan_image"})  # nobody said it


def _takes_images(model: BaseChatModel) -> bool:
    profile = model.profile
    return not profile or bool(profile.get("image_inputs"))


def _labelled(message: AnyMessage, conversation: Conversation, *, urls: bool) -> AnyMessage:
    if not of_a_person(message) or not isinstance(message.content, list):
        return message
    content: list[str | dict[str, Any]] = []
    for block in message.content:
        upload = conversation.upload_of(block) if isinstance(block, dict) and is_image_block(block) else None
        if upload is not None and upload.problem is None and (urls or upload.url is None):
            content.append({"type": "text", "text": f"{upload.name}:"})
        content.append(block)
    return message.model_copy(update={"content": content})


def _place(image_id: str, messages: Sequence[AnyMessage]) -> int:
    """Return where the thumbnails stand: after the answers of the turn that first named the newest image."""
    asked = newest_of_a_person(messages)
    named = shown_in(messages).get(image_id)
    if named is None:
        return len(messages) if asked is None else asked
    place = named + 1
    while place < len(messages) and isinstance(messages[place], ToolMessage):
        place += 1
    return place
