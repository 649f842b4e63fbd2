"""WanImageTool: images for an agent."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.callbacks.manager import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg
from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from langchain_wan._call.names import ImageNames
from langchain_wan._concurrency.executor import in_image_thread, in_thread
from langchain_wan._services.catalog import check_models
from langchain_wan._tool.arguments import WanImageInput, read_references
from langchain_wan._tool.call import build_call
from langchain_wan._tool.conversation import Conversation
from langchain_wan._tool.current_call import find_current_call, tool_call
from langchain_wan._tool.errors import (
    advice_for_model,
    attach_error,
    explain_invalid_arguments,
    recording_error,
)
from langchain_wan._tool.output import Content, build_artifact, build_content
from langchain_wan._tool.runtime import (
    build_conversation,
    call_scope_function,
    find_configurable,
    find_runtime,
    find_thread_scope,
    warn_about_memory,
    write_progress,
)
from langchain_wan._tool.schema import UPSTREAM, build_description, build_schema
from langchain_wan._tool.siblings import BATCH, begin_batch
from langchain_wan._tool.tracing import EVENT, model_metadata, record_cost
from langchain_wan.errors import InvalidImageRequestError
from langchain_wan.models import ImageResult, WanEvent
from langchain_wan.requests import MAX_N, MAX_REFERENCES, ImageRequest, invalid_request
from langchain_wan.settings import WanSettings

if TYPE_CHECKING:
    from langchain_wan._call.job import Call
    from langchain_wan.client import WanClient
    from langchain_wan.runnables import WanImageGenerator


class WanImageTool(WanSettings, BaseTool):
    """Let an agent make, edit and combine images; takes the settings of `WanSettings`, and those below.

    Example:
        ```python
        agent = create_agent(model, tools=[WanImageTool()])
        ```

    The message's content is short text with the ids of the images, its artifact an `ImageResult` as a JSON dict.
    `tool.invoke({...})` gives the text only, which is LangChain's rule: use `tool.generator`, invoke a ToolCall, or
    ask the store for an id.

    Attributes:
        models: The models that the language model may choose from. `model` without `models` leaves it no choice.
        max_n: How many images one call may make.
        max_references: How many input images one call may name.
        defaults: Parameters of Wan, such as `{"size": "1K"}`, for each call.
        expose: Parameters of Wan that the language model may set.
        scope: Who shares images: `"thread"`, `"store"`, or a function of the runtime that names the scope.
        return_to_model: `"url"` shows URLs beside the ids, `"id"` only the ids, `"thumbnail"` small images too, for
            providers that take images in tool results; or a function of the result that returns text or blocks.
        artifact_base64: Whether the artifact contains each image in base64; checkpoints and traces then contain it too.
    """

    model_config = WanSettings.model_config  # BaseTool's would accept misspelt names

    name: str = "wan_image"
    description: str = ""
    args_schema: Any = WanImageInput
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = advice_for_model
    handle_validation_error: Any = explain_invalid_arguments

    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("wan2.7-image", "wan2.7-image-pro")
    max_n: Annotated[int, Field(ge=1, le=MAX_N)] = MAX_N
    max_references: Annotated[int, Field(ge=0, le=MAX_REFERENCES)] = MAX_REFERENCES
    defaults: dict[str, Any] = Field(default_factory=dict)
    expose: tuple[str, ...] = ()
    scope: Literal["thread", "store"] | Callable[[Any], str | Awaitable[str]] = "thread"
    return_to_model: Literal["url", "id", "thumbnail"] | Callable[[ImageResult], Content | Awaitable[Content]] = "url"
    artifact_base64: bool = False

    # Which of `args_schema` and `description` follow the settings, because the caller did not set them.
    _derived: frozenset[str] = PrivateAttr(default=frozenset())
    _own_scope: str = PrivateAttr(default_factory=lambda: f"tool:{uuid.uuid4().hex}")

    @field_validator("models", mode="before")
    @classmethod
    def _accept_one_model(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("defaults", "expose")
    @classmethod
    def _check_parameters(cls, value: Any) -> Any:
        unknown = sorted(set(value) - {*UPSTREAM, "extra_body"})
        if unknown:
            raise ValueError(f"unknown parameters: {', '.join(unknown)}; known are {', '.join(UPSTREAM)}")
        if isinstance(value, dict):
            ImageRequest(prompt="checks the values", **value)
        return value

    @model_validator(mode="after")
    def _initialize(self) -> Self:
        self._follow_settings()
        return self

    def _follow_settings(self) -> None:
        check_models(self.models, self.prices)
        set_by_caller = self.model_fields_set
        if "model" in set_by_caller and "models" not in set_by_caller:
            self.models = (self.model,)
        elif self.model not in self.models:
            self.model = self.models[0]
        self._derived = self._derived | (frozenset({"args_schema", "description"}) - set_by_caller)
        if "args_schema" in self._derived:
            self.args_schema = build_schema(self.models, self.model, self.max_n, self.max_references, self.expose)
        if "description" in self._derived:
            self.description = build_description(self.models, self.prices, self.max_references)

    @property
    def generator(self) -> WanImageGenerator:
        """The same settings and scope as a Runnable, for chains and for results as objects."""
        from langchain_wan.runnables import WanImageGenerator

        generator = WanImageGenerator(**self.settings())
        generator._scope = self.scope
        return generator

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:  # noqa: ARG002  Runnable's own
        """Return the schema with `runtime`, which LangGraph injects; the model never sees it."""
        schema: type[BaseModel] = self.args_schema
        runtime: Any = (Annotated[Any, InjectedToolArg], Field(default=None, exclude=True))
        return create_model(schema.__name__, __base__=schema, runtime=runtime)

    def batch(self, inputs: list[Any], config: Any = None, **kwargs: Any) -> list[Any]:
        """Call the tool for each input; identical inputs are as many images."""
        return super().batch(inputs, config, **begin_batch(inputs, kwargs))

    async def abatch(self, inputs: list[Any], config: Any = None, **kwargs: Any) -> list[Any]:
        """Async version of `batch`."""
        return await super().abatch(inputs, config, **begin_batch(inputs, kwargs))

    def batch_as_completed(self, inputs: Sequence[Any], config: Any = None, **kwargs: Any) -> Iterator[tuple[int, Any]]:
        """Yield the index and the output of each input as it is done."""
        return super().batch_as_completed(inputs, config, **begin_batch(inputs, kwargs))

    def abatch_as_completed(
        self, inputs: Sequence[Any], config: Any = None, **kwargs: Any
    ) -> AsyncIterator[tuple[int, Any]]:
        """Async version of `batch_as_completed`."""
        return super().abatch_as_completed(inputs, config, **begin_batch(inputs, kwargs))

    def run(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Run the tool; an error's message carries it as artifact."""
        batch = kwargs.pop(BATCH, None)
        with tool_call(self.name, kwargs.get("tool_call_id"), batch) as current:
            output = super().run(tool_input, *args, **self._add_metadata(kwargs))
        return attach_error(output, current.errors)

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Async version of `run`."""
        batch = kwargs.pop(BATCH, None)
        with tool_call(self.name, kwargs.get("tool_call_id"), batch) as current:
            output = await super().arun(tool_input, *args, **self._add_metadata(kwargs))
        return attach_error(output, current.errors)

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> str | dict[str, Any]:
        # LangGraph injects `runtime`, which is not an argument: the schema refuses what it does not know.
        schema: Any = self.args_schema
        if not isinstance(tool_input, dict) or isinstance(schema, dict):
            return super()._parse_input(tool_input, tool_call_id)
        parsed = schema.model_validate({name: value for name, value in tool_input.items() if name != "runtime"})
        arguments = {name: getattr(parsed, name) for name in schema.model_fields}
        return {**arguments, "runtime": tool_input["runtime"]} if "runtime" in tool_input else arguments

    def _run(
        self,
        prompt: str,
        *,
        runtime: Annotated[Any, InjectedToolArg] = None,
        run_manager: CallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> Any:
        with recording_error(run_manager, is_handled=bool(self.handle_tool_error)):
            request = self._build_request(prompt, **arguments)
            call = self._build_call(request, runtime)

            def on_event(event: WanEvent) -> None:
                if run_manager is not None and run_manager.handlers:  # otherwise nobody listens
                    dispatch_custom_event(EVENT, event)
                write_progress(call.runtime, event)

            result = self._build_client().generate(request, on_event=on_event, call=call)
            record_cost(run_manager, result)
            return self._build_output(result, request, call.conversation)

    async def _arun(
        self,
        prompt: str,
        *,
        runtime: Annotated[Any, InjectedToolArg] = None,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> Any:
        with recording_error(run_manager, is_handled=bool(self.handle_tool_error)):
            request = self._build_request(prompt, **arguments)
            call = await in_image_thread(self._build_call, request, runtime)

            async def on_event(event: WanEvent) -> None:
                if run_manager is not None and run_manager.handlers:
                    await adispatch_custom_event(EVENT, event)
                write_progress(call.runtime, event)

            client = await in_thread(self._build_client)
            result = await client.agenerate(request, on_event=on_event, call=call)
            record_cost(run_manager, result)
            return await in_image_thread(self._build_output, result, request, call.conversation)

    def _build_request(
        self, prompt: str, images: Sequence[str] = (), n: int = 1, model: str | None = None, **parameters: Any
    ) -> ImageRequest:
        images = read_references(images)
        model = model or self.model
        is_refused = {
            "model": model not in self.models,
            "n": isinstance(n, int) and n > self.max_n,
            "images": len(images) > self.max_references,
            **{name: name not in self.expose for name in parameters},
        }
        limits = {"model": f"one of {', '.join(self.models)}", "n": f"at most {self.max_n}"}
        limits["images"] = f"at most {self.max_references}"
        refused = [
            f"{name}: {limits.get(name, 'it is not a parameter of this tool')}"
            for name, is_wrong in is_refused.items()
            if is_wrong
        ]
        if refused:
            text = f"This tool does not allow these arguments: {'; '.join(refused)}."
            raise InvalidImageRequestError(text, advice=text)
        chosen = {name: value for name, value in parameters.items() if value is not None}
        fields = {**self.defaults, **chosen, "prompt": prompt, "images": tuple(images), "n": n, "model": model}
        try:
            return ImageRequest.model_validate(fields)
        except ValidationError as error:
            # LangChain treats a ValidationError as wrong arguments, and quotes all of them to the model.
            raise invalid_request(error) from None

    def conversation(self, runtime: Any, scope: str | None = None) -> Conversation:
        """Return the image references of the conversation that a runtime of LangGraph belongs to."""
        scope = self._find_scope(runtime) if scope is None else scope
        only_visible = scope == self._own_scope
        return build_conversation(runtime, self.store, scope, only_visible=only_visible, urls=self.reference_urls)

    def _build_client(self) -> WanClient:
        from langchain_wan.client import WanClient  # loaded by the first call: importing the package stays cheap

        return WanClient(**self.settings())

    def _build_call(self, request: ImageRequest, injected: Any) -> Call:
        runtime = find_runtime(injected)
        scope = self._find_scope(runtime)
        if self.store.location is None:
            warn_about_memory(find_configurable(runtime).get("__pregel_checkpointer"))
        return build_call(
            request,
            self,
            runtime,
            scope=scope,
            by_model=True,
            shared=scope == self._own_scope,
            conversation=None if runtime is None else self.conversation(runtime, scope),
            batch=find_current_call().batch,
        )

    def _find_scope(self, runtime: Any) -> str:
        if self.scope == "store":
            return ""
        if self.scope == "thread":
            return find_thread_scope(runtime) or self._own_scope
        return call_scope_function(self.scope, runtime)

    def _build_output(self, result: ImageResult, request: ImageRequest, conversation: ImageNames | None) -> Any:
        content = build_content(result, request, conversation, self.return_to_model)
        if self.response_format == "content":
            return content
        return content, build_artifact(result, with_base64=self.artifact_base64)

    def _add_metadata(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "metadata": {**model_metadata(self.model), **(kwargs.get("metadata") or {})}}

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle without the key, and without the schema that was built for this instance."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "args_schema": WanImageInput}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Unpickle, and build the schema again."""
        super().__setstate__(state)
        self._follow_settings()
