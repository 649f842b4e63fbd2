"""WanImageTool: images for an agent."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
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
from langchain_wan._concurrency.executor import in_thread
from langchain_wan._services.catalog import check_models
from langchain_wan._tool.arguments import WanImageInput, read_references
from langchain_wan._tool.conversation import Conversation
from langchain_wan._tool.errors import (
    Remembered,
    advice_for_model,
    attach_error,
    current_failures,
    explain_invalid_arguments,
)
from langchain_wan._tool.runtime import (
    build_conversation,
    derive_operation_id,
    find_configurable,
    find_thread,
    find_turn,
    injected,
    streamed,
    warn_about_memory,
)
from langchain_wan._tool.schema import UPSTREAM, build_description, build_schema
from langchain_wan._tool.tracing import EVENT, model_metadata, record_cost
from langchain_wan.errors import InvalidImageRequestError, WanConfigurationError, WanError
from langchain_wan.models import ImageResult, WanEvent
from langchain_wan.requests import MAX_N, MAX_REFERENCES, ImageRequest, invalid_request
from langchain_wan.settings import WanSettings

if TYPE_CHECKING:
    from langchain_wan._call.job import Call
    from langchain_wan.client import WanClient
    from langchain_wan.runnables import WanImageGenerator


logger = logging.getLogger("langchain_wan")

NOT_ARGUMENTS = frozenset({"runtime", "run_manager", "callbacks"})


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
        models: The models that the language model may choose from; one leaves no choice. Giving `model` without
            `models` takes the choice away.
        max_n: How many images one call may make.
        max_references: How many input images one call may name.
        defaults: Parameters of Wan, such as `{"size": "1K"}`, for each call.
        expose: Parameters of Wan that the language model may set.
        scope: Who shares images: `"thread"`, `"store"`, or a function of the runtime that names the scope.
        return_to_model: `"url"` shows URLs beside the ids, `"reference"` only the ids; or a function of the result.
        artifact_base64: Whether the artifact holds each image in base64, which checkpoints and traces then hold too.
    """

    model_config = WanSettings.model_config  # the other base would accept misspelt names

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
    scope: Literal["thread", "store"] | Callable[[Any], str] = "thread"
    return_to_model: Literal["url", "reference"] | Callable[[ImageResult], str] = "url"
    artifact_base64: bool = False

    _made: frozenset[str] = PrivateAttr(
        default=frozenset()
    )  # of schema and description, those that follow the settings
    _own_scope: str = PrivateAttr(default_factory=lambda: f"tool:{uuid.uuid4().hex}")

    @field_validator("models", mode="before")
    @classmethod
    def _one_model_is_a_tuple_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("defaults", "expose")
    @classmethod
    def _known_parameters(cls, value: Any) -> Any:
        unknown = sorted(set(value) - {*UPSTREAM, "extra_body"})
        if unknown:
            raise ValueError(f"unknown parameters: {', '.join(unknown)}; known are {', '.join(UPSTREAM)}")
        if isinstance(value, dict):
            ImageRequest(prompt="a check of the values", **value)
        return value

    @model_validator(mode="after")
    def _shaped(self) -> Self:
        self._take_shape()
        return self

    def _take_shape(self) -> None:
        check_models(self.models, self.prices)
        given = self.model_fields_set
        if "model" in given and "models" not in given:
            self.models = (self.model,)
        elif self.model not in self.models:
            self.model = self.models[0]
        self._made = self._made | (frozenset({"args_schema", "description"}) - given)
        if "args_schema" in self._made:
            self.args_schema = build_schema(self.models, self.model, self.max_n, self.max_references, self.expose)
        if "description" in self._made:
            self.description = build_description(self.models, self.prices, self.max_references)

    @property
    def generator(self) -> WanImageGenerator:
        """The same settings as a Runnable, for chains and for results as objects."""
        from langchain_wan.runnables import WanImageGenerator

        return WanImageGenerator(**self.settings())

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:  # noqa: ARG002  Runnable's own
        """Return the schema with `runtime`, which LangGraph injects; the model never sees it."""
        schema: type[BaseModel] = self.args_schema
        runtime: Any = (Annotated[Any, InjectedToolArg], Field(default=None, exclude=True))
        return create_model(schema.__name__, __base__=schema, runtime=runtime)

    def run(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Run the tool; an error's message carries it as artifact."""
        failures: list[WanError] = []
        token = current_failures.set(failures)
        try:
            output = super().run(tool_input, *args, **self._traced(kwargs))
        finally:
            current_failures.reset(token)
        return attach_error(output, failures)

    async def arun(self, tool_input: str | dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Do what `run` does without blocking the event loop."""
        failures: list[WanError] = []
        token = current_failures.set(failures)
        try:
            output = await super().arun(tool_input, *args, **self._traced(kwargs))
        finally:
            current_failures.reset(token)
        return attach_error(output, failures)

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> str | dict[str, Any]:
        # What LangGraph injects is no argument: the schema, which refuses unknown ones, is not to see it. The base
        # would look through the schema for injected arguments at each call; it has none.
        schema: Any = self.args_schema
        if not isinstance(tool_input, dict) or isinstance(schema, dict):
            return super()._parse_input(tool_input, tool_call_id)
        given = {name: value for name, value in tool_input.items() if name != "runtime"}
        parsed = schema.model_validate(given)
        fields = {name: getattr(parsed, name) for name in schema.model_fields}
        return {**fields, "runtime": tool_input["runtime"]} if "runtime" in tool_input else fields

    def _filter_injected_args(self, tool_input: dict[str, Any]) -> dict[str, Any]:
        # What traces show. The base looks for injected arguments in the schema at each call; this one has none.
        return {name: value for name, value in tool_input.items() if name not in NOT_ARGUMENTS}

    def _run(
        self,
        prompt: str,
        images: Sequence[str] = (),
        n: int = 1,
        model: str | None = None,
        runtime: Annotated[Any, InjectedToolArg] = None,
        run_manager: CallbackManagerForToolRun | None = None,
        **parameters: Any,
    ) -> Any:
        with Remembered(self.handle_tool_error):
            request = self._request(prompt, images, n, model, parameters)
            call = self._call(injected(runtime))

            def watch(event: WanEvent) -> None:
                if run_manager is not None and run_manager.handlers:  # else nobody listens
                    dispatch_custom_event(EVENT, event)
                streamed(call.runtime, event)

            result = self._client().generate(request, on_event=watch, call=call)
            record_cost(run_manager, result)
            return self._output(result, request, call.conversation)

    async def _arun(
        self,
        prompt: str,
        images: Sequence[str] = (),
        n: int = 1,
        model: str | None = None,
        runtime: Annotated[Any, InjectedToolArg] = None,
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **parameters: Any,
    ) -> Any:
        with Remembered(self.handle_tool_error):
            request = self._request(prompt, images, n, model, parameters)
            call = await in_thread(self._call, injected(runtime))

            async def watch(event: WanEvent) -> None:
                if run_manager is not None and run_manager.handlers:
                    await adispatch_custom_event(EVENT, event)
                streamed(call.runtime, event)

            client = await in_thread(self._client)
            result = await client.agenerate(request, on_event=watch, call=call)
            record_cost(run_manager, result)
            return await in_thread(self._output, result, request, call.conversation)

    def _request(
        self, prompt: str, images: Sequence[str], n: int, model: str | None, parameters: Mapping[str, Any]
    ) -> ImageRequest:
        images = read_references(images)
        chosen = model or self.model
        problems = {
            "model": chosen not in self.models,
            "n": isinstance(n, int) and n > self.max_n,
            "images": len(images) > self.max_references,
            **{name: name not in self.expose for name in parameters},
        }
        wrong = [name for name, is_wrong in problems.items() if is_wrong]
        if wrong:
            text = f"This tool does not allow this value of {', '.join(wrong)}."
            raise InvalidImageRequestError(text, next_step="Correct the arguments.", advice=text)
        given = {name: value for name, value in parameters.items() if value is not None}
        fields = {**self.defaults, **given, "prompt": prompt, "images": tuple(images), "n": n, "model": chosen}
        try:
            return ImageRequest.model_validate(fields)
        except ValidationError as error:
            # LangChain takes a ValidationError for bad arguments and quotes them all to the model.
            raise invalid_request(error) from None

    def conversation(self, runtime: Any, scope: str | None = None) -> Conversation:
        """Return what images are called in the conversation of a runtime of LangGraph."""
        scope = self._scope_name(runtime) if scope is None else scope
        urls = self.reference_urls != "refuse"
        return build_conversation(runtime, self.store, scope, only_shown=scope == self._own_scope, urls=urls)

    def _client(self) -> WanClient:
        from langchain_wan.client import WanClient  # what only a call needs is loaded by the first one

        return WanClient(**self.settings())

    def _call(self, runtime: Any) -> Call:
        from langchain_wan._call.job import Call

        scope = self._scope_name(runtime)
        if self.store.location is None:
            warn_about_memory(find_configurable(runtime).get("__pregel_checkpointer"))
        return Call(
            scope=scope,
            operation_id=derive_operation_id(runtime, scope),
            tool_call_id=getattr(runtime, "tool_call_id", None),
            turn=find_turn(runtime),
            by_model=True,
            shared=scope == self._own_scope,
            conversation=None if runtime is None else self.conversation(runtime, scope),
            runtime=runtime,
        )

    def _scope_name(self, runtime: Any) -> str:
        if self.scope == "store":
            return ""
        if self.scope == "thread":
            return find_thread(runtime) or self._own_scope
        if runtime is None:
            raise WanConfigurationError("The scope function needs a runtime: call the tool in a LangGraph agent.")
        try:
            named = self.scope(runtime)
        except Exception as error:
            raise WanConfigurationError(f"The scope function failed: {type(error).__name__}: {error}") from error
        if not isinstance(named, str) or not named:
            raise WanConfigurationError("The scope function has to return a name.")
        return named

    def _output(self, result: ImageResult, request: ImageRequest, conversation: ImageNames | None) -> Any:
        content = self._content(result, request, conversation)
        if self.response_format == "content":
            return content
        artifact = result.model_dump(mode="json")
        if self.artifact_base64:
            for facts, image in zip(artifact["images"], result.images, strict=True):
                facts["base64"] = image.base64
        return content, artifact

    def _content(self, result: ImageResult, request: ImageRequest, conversation: ImageNames | None) -> str:
        if callable(self.return_to_model):
            try:
                return self.return_to_model(result)
            except Exception:  # a callback that fails must not lose a paid image
                logger.exception("return_to_model failed")
        text = result.describe(url=self.return_to_model == "url")
        return "\n".join([text, *_uploads(conversation, request)])

    def _traced(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {**kwargs, "metadata": {**model_metadata(self.model), **(kwargs.get("metadata") or {})}}

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle without the key, and without the schema that was made for this instance."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "args_schema": WanImageInput}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Make the schema again."""
        super().__setstate__(state)
        self._take_shape()


# LangChain reads all hints at each call, which took a third of a tool's own time, to find the injected argument.
for _method in (WanImageTool._run, WanImageTool._arun):
    _method.__annotations__ = {"runtime": Annotated[Any, InjectedToolArg]}


def _uploads(conversation: ImageNames | None, request: ImageRequest) -> list[str]:
    """Return what the model reads of the pictures that people attached."""
    if conversation is None:
        return []
    named = [name for name in request.images if isinstance(name, str)]
    try:
        became = [one for one in conversation.uploads() if one.image_id and one.name in named]
        unused = [one.name for one in conversation.unused(named) if one.problem is None]
    except Exception:  # a note must not lose a paid image
        logger.exception("the uploads could not be read")
        return []
    lines = [f"{one.name} is {one.image_id}." for one in became]
    if unused:
        lines.append(f"Attached by the user and not used: {', '.join(unused)}.")
    return lines
