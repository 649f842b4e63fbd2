"""What LangGraph tells a tool of the conversation that it is called in, read without importing LangGraph."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_wan._conversation import Conversation, newest_of_a_person

if TYPE_CHECKING:
    from langchain_wan.store import ImageStore


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
    place = newest_of_a_person(messages)
    # The id stays when older messages are trimmed.
    return "" if place is None else str(messages[place].id or place)


def conversation_of(
    runtime: Any, store: ImageStore, scope: str, *, only_shown: bool, messages: Sequence[Any] | None = None
) -> Conversation:
    """Return the names of the conversation that a runtime belongs to.

    Args:
        only_shown: Whether the scope is wider than the conversation, so that only ids in its messages count.
        messages: Those of the state; None reads them from the runtime.
    """
    thread_id = configurable_of(runtime).get("thread_id")
    thread = None if not thread_id else json.dumps([scope, str(thread_id)])
    said = messages_of(runtime) if messages is None else messages
    return Conversation(store.scoped(scope), said, thread, only_shown=only_shown)


def operation_of(runtime: Any, scope: str) -> str | None:
    """Return the id of the paid call that a tool call stands for, the same when it is carried out again."""
    configurable = configurable_of(runtime)
    tool_call_id = getattr(runtime, "tool_call_id", None)
    if not configurable.get("thread_id") or not tool_call_id:
        return None
    # A tool_call_id alone is no key: some models begin at call_0 in every turn.
    parts = [scope, *(str(configurable.get(key, "")) for key in ("thread_id", "checkpoint_ns")), tool_call_id]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def streamed(runtime: Any, event: Mapping[str, Any]) -> None:
    """Hand progress to whoever streams the graph, in the modes `custom` and `tools`."""
    for name in ("stream_writer", "emit_output_delta"):
        write = getattr(runtime, name, None)
        if write is not None:
            write(event)
