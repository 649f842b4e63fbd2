"""What LangGraph tells a tool of the conversation that it is called in, read without importing LangGraph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def injected(value: Any) -> Any:
    """Return a runtime; None for anything else, such as what a model wrote where LangGraph injects."""
    return value if hasattr(value, "config") and hasattr(value, "state") else None


def configurable_of(runtime: Any) -> Mapping[str, Any]:
    """Return what the caller of a graph configured; empty without a runtime."""
    config = getattr(runtime, "config", None)
    found = config.get("configurable") if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}


@lru_cache(maxsize=1)
def _warn_once() -> None:
    warnings.warn(
        "This conversation is checkpointed, but its images are stored in memory: after a restart their ids work only "
        "as long as their URLs. Use WanImageTool(store=ImageStore('a folder')) to keep them.",
        UserWarning,
        stacklevel=2,
    )


def warn_of_memory(checkpointer: Any) -> None:
    """Warn once where a conversation outlives its images."""
    if checkpointer is not None and not type(checkpointer).__name__.endswith("MemorySaver"):
        _warn_once()


def turn_of(runtime: Any) -> str:
    """Name the newest message of a person: what it asks again may be paid again."""
    state = getattr(runtime, "state", None)
    messages = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", ())
    for place in range(len(messages) - 1, -1, -1):
        if getattr(messages[place], "type", None) == "human":
            return f"{place} {messages[place].id}"
    return ""
