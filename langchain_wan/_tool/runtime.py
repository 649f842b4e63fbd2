"""The conversation that a tool is called in, read from what LangGraph injects, without importing LangGraph."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_wan._tool.conversation import Conversation, find_newest_human
from langchain_wan.errors import WanConfigurationError

if TYPE_CHECKING:
    from langchain_wan.store import WanStore


def accept_runtime(value: Any) -> Any:
    """Return a runtime of LangGraph; None for anything else, such as an argument of this name that a model wrote."""
    return value if hasattr(value, "config") and hasattr(value, "state") else None


def find_configurable(runtime: Any) -> Mapping[str, Any]:
    """Return what the caller of a graph configured; empty without a runtime."""
    config = getattr(runtime, "config", None)
    configurable = config.get("configurable") if isinstance(config, Mapping) else None
    return configurable if isinstance(configurable, Mapping) else {}


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
    if isinstance(state, list):  # a ToolNode was called with messages alone
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
    """Return the id of the newest human message, which lifts the guard against repeats; `""` where it is unknown."""
    messages = find_messages(runtime)
    index = find_newest_human(messages)
    if index is None:
        return ""
    if index == 0 and "|" in str(find_configurable(runtime).get("checkpoint_ns", "")):
        return ""  # the task of a sub-agent: another agent wrote it, and writes it again when the first try failed
    return str(messages[index].id or index)  # the id stays when older messages are trimmed


def build_conversation(runtime: Any, store: WanStore, scope: str, *, only_shown: bool, urls: bool) -> Conversation:
    """Return the image references of the conversation that a runtime belongs to.

    Args:
        only_shown: Whether the scope is wider than the conversation, so that only ids in its messages count.
        urls: Whether an image may be attached by URL.
    """
    thread_id = find_thread(runtime)
    thread = None if thread_id is None else json.dumps([scope, thread_id])
    return Conversation(store.scoped(scope), find_messages(runtime), thread, only_shown=only_shown, urls=urls)


def derive_operation_id(runtime: Any, scope: str) -> str | None:
    """Return the id of the paid call that a tool call makes, the same when the tool call runs again."""
    thread_id, tool_call_id = find_thread(runtime), getattr(runtime, "tool_call_id", None)
    if thread_id is None or not tool_call_id:
        return None
    # A tool_call_id alone is not unique: some models begin at call_0 in every turn, or in every step.
    namespace = str(find_configurable(runtime).get("checkpoint_ns", ""))
    parts = [scope, thread_id, namespace, _find_caller(runtime, tool_call_id), tool_call_id]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _find_caller(runtime: Any, tool_call_id: str) -> str:
    messages = find_messages(runtime)
    for index in range(len(messages) - 1, -1, -1):
        calls = getattr(messages[index], "tool_calls", None) or ()
        if any(call.get("id") == tool_call_id for call in calls):
            return str(messages[index].id or index)
    return ""


def call_scope_function(function: Callable[[Any], str], runtime: Any) -> str:
    """Return the scope that a caller's function names.

    Raises:
        WanConfigurationError: There is no runtime, the function failed, or it did not return a name.
    """
    if runtime is None:
        raise WanConfigurationError("The scope function needs a runtime: call the tool in a LangGraph agent.")
    try:
        name = function(runtime)
    except Exception as error:
        raise WanConfigurationError(f"The scope function failed: {type(error).__name__}: {error}") from error
    if not isinstance(name, str) or not name:
        raise WanConfigurationError("The scope function must return a name: a string that is not empty.")
    return name


def write_progress(runtime: Any, event: Mapping[str, Any]) -> None:
    """Send an event to the caller that streams the graph, in the modes `custom` and `tools`."""
    for name in ("stream_writer", "emit_output_delta"):
        write = getattr(runtime, name, None)
        if write is not None:
            write(event)
