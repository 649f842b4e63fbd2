"""WanImageGenerator: images in a chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from langchain_core.callbacks.manager import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import merge_configs
from pydantic import BaseModel, PrivateAttr, ValidationError

from langchain_wan._concurrency.executor import in_image_thread
from langchain_wan._media.blocks import find_text, is_image_block
from langchain_wan._tool.arguments import WanImageInput
from langchain_wan._tool.call import build_call
from langchain_wan._tool.runtime import (
    build_conversation,
    call_scope_function,
    find_runtime,
    find_thread,
    find_thread_scope,
    write_progress,
)
from langchain_wan._tool.siblings import BATCH, BatchOfCalls, begin_batch
from langchain_wan._tool.tracing import EVENT, model_metadata, record_cost, recording_failure
from langchain_wan._tool.wrappers import SafeFallbacks
from langchain_wan.client import WanClient
from langchain_wan.errors import InvalidImageRequestError
from langchain_wan.models import ImageResult, WanEvent
from langchain_wan.requests import ImageRequest, invalid_request
from langchain_wan.settings import WanSettings

if TYPE_CHECKING:
    from langchain_core.callbacks.manager import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
    from langchain_core.tools import BaseTool

    from langchain_wan._call.job import Call


GeneratorInput: TypeAlias = (
    str | dict[str, Any] | ImageRequest | WanImageInput | BaseMessage | Sequence[BaseMessage] | PromptValue
)


class WanImageGenerator(SafeFallbacks, WanSettings, RunnableSerializable[GeneratorInput, ImageResult]):
    """Make and edit images in a chain; takes the settings of `WanSettings`.

    The input is a prompt, a dict or an `ImageRequest`, one or several messages, or a prompt value. Of messages the
    last human one counts, its text and its images; a system message is put before the prompt. Arguments that were
    bound, or given to `invoke`, are merged into the request.

    Example:
        ```python
        images = WanImageGenerator()
        result = images.invoke({"prompt": "a red fox in fresh snow", "n": 2})
        night = images.invoke(result.images[1].edit("make it night"))
        ```

    Raises:
        WanError: No image could be delivered; its class and `charged` say what that means.
        WanConfigurationError: No key, or a `base_url` that can't be used.
    """

    model_config = WanSettings.model_config  # RunnableSerializable's would accept misspelt names

    _scope: Any = PrivateAttr(default="thread")  # of the tool whose generator it is

    def invoke(
        self,
        input: GeneratorInput,  # noqa: A002  Runnable's own name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> ImageResult:
        """Make the images and wait for them, usually 10 to 120 s."""
        # Built before the run starts, so that traces contain digests of the input images, never bytes.
        batch = kwargs.pop(BATCH, None)
        request: Any = build_request(input, kwargs)
        return self._call_with_config(self._generate, request, self._add_metadata(request, config), batch=batch)

    async def ainvoke(
        self,
        input: GeneratorInput,  # noqa: A002  Runnable's own name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> ImageResult:
        """Async version of `invoke`."""
        batch = kwargs.pop(BATCH, None)
        request: Any = build_request(input, kwargs)
        config = self._add_metadata(request, config)
        return await self._acall_with_config(self._agenerate, request, config, batch=batch)

    def _generate(
        self,
        request: Any,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        batch: BatchOfCalls | None = None,
    ) -> ImageResult:
        call = self._build_call(request, batch)

        def on_event(event: WanEvent) -> None:
            if run_manager.handlers:  # otherwise nobody listens
                dispatch_custom_event(EVENT, event, config=config)
            write_progress(call.runtime, event)

        with recording_failure(run_manager):
            result = WanClient(**self.settings()).generate(request, on_event=on_event, call=call)
        record_cost(run_manager, result)
        return result

    async def _agenerate(
        self,
        request: Any,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        batch: BatchOfCalls | None = None,
    ) -> ImageResult:
        call = await in_image_thread(self._build_call, request, batch)

        async def on_event(event: WanEvent) -> None:
            if run_manager.handlers:
                await adispatch_custom_event(EVENT, event, config=config)
            write_progress(call.runtime, event)

        with recording_failure(run_manager):
            result = await WanClient(**self.settings()).agenerate(request, on_event=on_event, call=call)
        record_cost(run_manager, result)
        return result

    def _build_call(self, request: ImageRequest, batch: BatchOfCalls | None) -> Call:
        # In a graph, the generator belongs to the thread, as a tool does: images, names and calls are the same.
        runtime = find_runtime()
        thread_id = find_thread(runtime)
        scope = self._find_scope(runtime)
        conversation = None
        if thread_id is not None:
            urls = self.reference_urls
            conversation = build_conversation(runtime, self.store, scope, only_visible=False, urls=urls)
        return build_call(request, self, runtime, scope=scope, conversation=conversation, batch=batch)

    def _find_scope(self, runtime: Any) -> str:
        if self.store.scope or self._scope == "store" or runtime is None:
            return ""  # the view of the store, or code that knows all of it
        return call_scope_function(self._scope, runtime) if callable(self._scope) else find_thread_scope(runtime) or ""

    def _add_metadata(self, request: ImageRequest, config: RunnableConfig | None) -> RunnableConfig:
        return merge_configs({"metadata": model_metadata(request.model or self.model)}, config)

    def batch(self, inputs: Sequence[GeneratorInput], config: Any = None, **kwargs: Any) -> list[ImageResult]:
        """Make the images of several inputs; at most `max_concurrency` paid calls are in flight at once.

        Identical inputs are as many images, and one of them whose outcome is unknown does not stop the others.
        """
        return super().batch(list(inputs), self._limit_concurrency(config), **begin_batch(inputs, kwargs))

    async def abatch(self, inputs: Sequence[GeneratorInput], config: Any = None, **kwargs: Any) -> list[ImageResult]:
        """Async version of `batch`."""
        kwargs = begin_batch(inputs, kwargs)
        return await super().abatch(list(inputs), self._limit_concurrency(config), **kwargs)

    def batch_as_completed(  # type: ignore[override]  # overloads of the base differ in `return_exceptions` only
        self, inputs: Sequence[GeneratorInput], config: Any = None, **kwargs: Any
    ) -> Iterator[tuple[int, ImageResult | Exception]]:
        """Yield the index and the result of each input as it is done."""
        kwargs = begin_batch(inputs, kwargs)
        return super().batch_as_completed(inputs, self._limit_concurrency(config), **kwargs)

    def abatch_as_completed(  # type: ignore[override]  # overloads of the base differ in `return_exceptions` only
        self, inputs: Sequence[GeneratorInput], config: Any = None, **kwargs: Any
    ) -> AsyncIterator[tuple[int, ImageResult | Exception]]:
        """Async version of `batch_as_completed`."""
        kwargs = begin_batch(inputs, kwargs)
        return super().abatch_as_completed(inputs, self._limit_concurrency(config), **kwargs)

    def _limit_concurrency(self, config: Any) -> Any:
        if isinstance(config, list | tuple):
            return [self._limit_concurrency(item) for item in config]
        # Twice as many as may be in flight at once: while one call waits for its answer, another downloads and stores.
        return {"max_concurrency": 2 * self.max_concurrency, **(config or {})}

    def as_tool(self, args_schema: type[BaseModel] | None = None, **kwargs: Any) -> BaseTool:
        """Return the `WanImageTool` with the same settings.

        Args:
            args_schema: Must be None: the tool's schema follows from its settings.
            kwargs: Further settings of the tool, such as `name`, `models` or `max_n`.
        """
        from langchain_wan.tools import WanImageTool  # the one import that points up: Runnable.as_tool stands here

        if args_schema is not None:
            raise ValueError("WanImageTool builds its own schema; set models, max_n, max_references or expose")
        own = {name: value for name, value in kwargs.items() if value is not None}
        return WanImageTool(**{"scope": self._scope, **_explicit_settings(self), **own})


def _explicit_settings(generator: WanSettings) -> dict[str, Any]:
    # Only what the caller set: where no model was chosen, the tool may offer several.
    return {name: value for name, value in generator.settings().items() if name in generator.model_fields_set}


def build_request(value: GeneratorInput, extra: Mapping[str, Any] | None = None) -> ImageRequest:
    """Return the request that an input of a generator means, with `extra` merged into it.

    Raises:
        InvalidImageRequestError: It breaks a rule, or its type is not one that a request can be built from.
    """
    try:
        fields = _read_fields(value)
        return ImageRequest.model_validate({**fields, **(extra or {})})
    except ValidationError as error:
        raise invalid_request(error) from None


def _read_fields(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"prompt": value}
    if isinstance(value, BaseModel) and isinstance(value, ImageRequest | WanImageInput):
        return {name: getattr(value, name) for name in type(value).model_fields if name in value.model_fields_set}
    if isinstance(value, PromptValue):
        return _read_messages(value.to_messages())
    if isinstance(value, BaseMessage):
        return _read_messages([value])
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and value and all(isinstance(item, str) for item in value):
        raise InvalidImageRequestError(
            "Expected a prompt, dict, ImageRequest or messages; got a list of strings.",
            next_step="For several prompts, use batch().",
        )
    if isinstance(value, Sequence):
        try:
            return _read_messages(convert_to_messages(cast("Any", value)))
        except (ValueError, NotImplementedError):
            pass
    raise InvalidImageRequestError(f"Expected a prompt, dict, ImageRequest or messages; got {type(value).__name__}.")


def _read_messages(messages: Sequence[BaseMessage]) -> dict[str, Any]:
    if not messages:
        raise InvalidImageRequestError("The list of messages is empty.", next_step="Pass at least one message.")
    human = [message for message in messages if isinstance(message, HumanMessage)]
    newest = human[-1] if human else messages[-1]
    system = [find_text(message.content) for message in messages if isinstance(message, SystemMessage)]
    prompt = "\n\n".join(text for text in (*system, find_text(newest.content)) if text.strip())
    blocks = newest.content if isinstance(newest.content, list) else []
    return {"prompt": prompt, "images": tuple(block for block in blocks if is_image_block(block))}
