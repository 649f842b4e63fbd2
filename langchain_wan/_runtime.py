"""What LangGraph tells a tool of the conversation that it is called in, read without importing LangGraph."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_wan.store import IMAGE_ID


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


def ids_in_state(runtime: Any) -> frozenset[str]:
    """Return the ids of images that stand in the messages of this conversation."""
    found: set[str] = set()
    for message in messages_of(runtime):
        found.update(IMAGE_ID.findall(str(getattr(message, "content", ""))))
        artifact = getattr(message, "artifact", None)
        found.update(IMAGE_ID.findall(str(artifact)) if artifact is not None else ())
    return frozenset(found)


def messages_of(runtime: Any) -> Sequence[Any]:
    """Return the messages of the state; empty without a runtime."""
    state = getattr(runtime, "state", None)
    messages = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", ())
    return messages if isinstance(messages, Sequence) else ()


def warn_of_memory(checkpointer: Any) -> None:
    """Warn once where a conversation outlives its images."""
    if checkpointer is not None and not type(checkpointer).__name__.endswith("MemorySaver"):
        _warn_once()


def turn_of(runtime: Any) -> str:
    """Name the newest message of a person: what it asks again may be paid again."""
    messages = messages_of(runtime)
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        # What middleware inserts, such as a summary, nobody said. The id stays when older messages are trimmed.
        if getattr(message, "type", None) == "human" and "lc_source" not in message.additional_kwargs:
            return str(message.id or place)
    return ""
