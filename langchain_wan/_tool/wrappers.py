"""Wrappers of a generator whose fallbacks do not pay twice, whatever it was wrapped in before.

LangChain's own wrappers fall back after any error. After one that may have been charged, the fallback would be paid for
as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableBinding, RunnableSerializable
from langchain_core.runnables.configurable import RunnableConfigurableAlternatives, RunnableConfigurableFields
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.runnables.retry import RunnableRetry

from langchain_wan.errors import NOT_CHARGED
from langchain_wan.models import ImageResult


class SafeFallbacks:
    """What a Runnable inherits before LangChain's classes, so that it and its wrappers fall back safely."""

    def with_fallbacks(
        self,
        fallbacks: Sequence[Any],
        *,
        exceptions_to_handle: tuple[type[BaseException], ...] = NOT_CHARGED,
        exception_key: str | None = None,
    ) -> RunnableWithFallbacks[Any, ImageResult]:
        """Add fallbacks, used only after errors that certainly charged nothing.

        Args:
            fallbacks: Tried in order.
            exceptions_to_handle: With a wider tuple, what may have been paid can be paid again.
            exception_key: As LangChain's Runnables have it.
        """
        parent: Any = super()
        runnable: RunnableWithFallbacks[Any, ImageResult] = parent.with_fallbacks(
            fallbacks, exceptions_to_handle=exceptions_to_handle, exception_key=exception_key
        )
        return runnable

    def bind(self, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with arguments that are merged into each request."""
        return self._wrap("bind", **kwargs)

    def with_config(self, config: Any = None, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with a config."""
        return self._wrap("with_config", config, **kwargs)

    def with_retry(self, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable so that it is called again after an error; what may have been paid is not sent again."""
        return self._wrap("with_retry", **kwargs)

    def with_listeners(self, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with functions that are told of its runs."""
        return self._wrap("with_listeners", **kwargs)

    def with_alisteners(self, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with coroutine functions that are told of its runs."""
        return self._wrap("with_alisteners", **kwargs)

    def with_types(self, *, input_type: Any = None, output_type: Any = None) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with other input and output types."""
        return self._wrap("with_types", input_type=input_type, output_type=output_type)

    def configurable_fields(self, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with settings that a config may choose."""
        return self._wrap("configurable_fields", **kwargs)

    def configurable_alternatives(self, which: Any, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        """Return this Runnable with others that a config may choose instead."""
        return self._wrap("configurable_alternatives", which, **kwargs)

    def _wrap(self, method: str, *args: Any, **kwargs: Any) -> RunnableSerializable[Any, ImageResult]:
        wrapped: RunnableSerializable[Any, ImageResult] = getattr(super(), method)(*args, **kwargs)
        safe_type = _SAFE_TYPES.get(type(wrapped))
        if safe_type is None:  # it is safe already
            return wrapped
        fields = {name: getattr(wrapped, name) for name in type(wrapped).model_fields}
        safe: RunnableSerializable[Any, ImageResult] = safe_type(**fields)
        return safe


class WanBinding(SafeFallbacks, RunnableBinding):  # type: ignore[type-arg, misc]  # with arguments pydantic would build the Runnable inside anew
    """A generator with bound arguments, a config, listeners or types."""


class WanRetry(SafeFallbacks, RunnableRetry):  # type: ignore[type-arg]  # with arguments pydantic would build the Runnable inside anew
    """A generator that is called again."""


class WanConfigurableFields(SafeFallbacks, RunnableConfigurableFields):  # type: ignore[type-arg]  # with arguments pydantic would build the Runnable inside anew
    """A generator whose settings a config may choose."""


class WanConfigurableAlternatives(SafeFallbacks, RunnableConfigurableAlternatives):  # type: ignore[type-arg]  # with arguments pydantic would build the Runnable inside anew
    """A generator that a config may replace."""


_SAFE_TYPES: dict[type, type[Any]] = {
    RunnableBinding: WanBinding,
    RunnableRetry: WanRetry,
    RunnableConfigurableFields: WanConfigurableFields,
    RunnableConfigurableAlternatives: WanConfigurableAlternatives,
}
