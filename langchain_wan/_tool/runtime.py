"""What LangGraph tells a tool of the conversation that it is called in, read without importing LangGraph."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_wan._tool.conversation import Conversation, find_newest_human

if TYPE_CHECKING:
    from langchain_wan.store import WanStore


def injected(value: Any) -> Any:
    """Return a runtime; None for anything else, such as what a model wrote where LangGraph injects."""
    return value if hasattr(value, "config") and hasattr(value, "state") else None


def find_configurable(runtime: Any) -> Mapping[str, Any]:
    """Return what the caller of a graph configured; empty without a runtime."""
    config = getattr(runtime, "config", None)
    found = config.get("configurable") if isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else {}


@lru_cache(maxsize=1)
def _warn_once() -> None:
    warnings.warn(
        "This conversation is checkpointed, but its images are stored in memory: after a restart their ids work only "
        "as long as their URLs. Use WanImageTool(store=WanStore('a folder')) to keep them.",
        UserWarning,
        stacklevel=2,
    )


def find_messages(runtime: Any) -> Sequence[Any]:
    """Return the messages of the state; empty without a runtime."""
    state = getattr(runtime, "state", None)
    if isinstance(state, list):  # a ToolNode that was given messages alone
        return state
    messages = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", ())
    return messages if isinstance(messages, Sequence) else ()


def find_thread(runtime: Any) -> str | None:
    """Return the thread id, or None where the conversation has none."""
    thread_id = find_configurable(runtime).get("thread_id")
    return None if thread_id in (None, "") else str(thread_id)


def warn_about_memory(checkpointer: Any) -> None:
    """Warn once where a conversation outlives its images."""
    if checkpointer is not None and not type(checkpointer).__name__.endswith("MemorySaver"):
        _warn_once()


def find_turn(runtime: Any) -> str:
    """Name the newest message of a person: what it asks again may be paid again; `""` where nobody can tell."""
    messages = find_messages(runtime)
    place = find_newest_human(messages)
    if place is None:
        return ""
    if place == 0 and "|" in str(find_configurable(runtime).get("checkpoint_ns", "")):
        return ""  # the task of a sub-agent: another agent wrote it, and writes it again when the first try failed
    # The id stays when older messages are trimmed.
    return str(messages[place].id or place)


def build_conversation(runtime: Any, store: WanStore, scope: str, *, only_shown: bool, urls: bool) -> Conversation:
    """Return the names of the conversation that a runtime belongs to.

    Args:
        only_shown: Whether the scope is wider than the conversation, so that only ids in its messages count.
        urls: Whether a picture may be attached by URL.
    """
    thread_id = find_thread(runtime)
    thread = None if thread_id is None else json.dumps([scope, thread_id])
    return Conversation(store.scoped(scope), find_messages(runtime), thread, only_shown=only_shown, urls=urls)


def derive_operation_id(runtime: Any, scope: str) -> str | None:
    """Return the id of the paid call that a tool call stands for, the same when it is carried out again."""
    thread_id, tool_call_id = find_thread(runtime), getattr(runtime, "tool_call_id", None)
    if thread_id is None or not tool_call_id:
        return None
    # A tool_call_id alone is no key: some models begin at call_0 in every turn, or in every step.
    namespace = str(find_configurable(runtime).get("checkpoint_ns", ""))
    parts = [scope, thread_id, namespace, _caller(runtime, tool_call_id), tool_call_id]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _caller(runtime: Any, tool_call_id: str) -> str:
    messages = find_messages(runtime)
    for place in range(len(messages) - 1, -1, -1):
        calls = getattr(messages[place], "tool_calls", None) or ()
        if any(call.get("id") == tool_call_id for call in calls):
            return str(messages[place].id or place)
    return ""


def streamed(runtime: Any, event: Mapping[str, Any]) -> None:
    """Hand progress to whoever streams the graph, in the modes `custom` and `tools`."""
    for name in ("stream_writer", "emit_output_delta"):
        write = getattr(runtime, name, None)
        if write is not None:
            write(event)
