"""The run that a tool or a generator is called in: what LangGraph injects, or else the config of the run.

LangGraph is not imported: what it injects is read by the names of its attributes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_wan._concurrency.callbacks import complete
from langchain_wan._net.addresses import is_well_formed
from langchain_wan._storage.scopes import scope_name, scope_thread
from langchain_wan._tool.conversation import Conversation
from langchain_wan._tool.current_call import find_current_call
from langchain_wan._tool.messages import read_message, read_messages
from langchain_wan.errors import WanConfigurationError

if TYPE_CHECKING:
    from langchain_wan.settings import ReferenceUrls
    from langchain_wan.store import WanStore


@dataclass(frozen=True)
class ConfigRuntime:
    """What the config of a run says, with the attributes of LangGraph's `ToolRuntime`.

    A node, a loop or a chain that calls a tool injects nothing: its config names the thread, and in a graph the task.
    """

    config: RunnableConfig
    tool_call_id: str | None = None
    state: Any = None
    context: Any = None
    store: Any = None
    stream_writer: Any = None
    execution_info: Any = None
    server_info: Any = None


def find_runtime(injected: Any = None) -> Any:
    """Return the runtime of LangGraph that was injected, else what the config of the run says, else None.

    Args:
        injected: Anything else than a runtime counts as nothing, such as an argument of this name that a model wrote.
    """
    if hasattr(injected, "config") and hasattr(injected, "state"):
        return injected
    config = ensure_config()
    configurable = config.get("configurable")
    if not configurable:
        return None
    of_graph = configurable.get("__pregel_runtime")
    facts = {name: getattr(of_graph, name, None) for name in _OF_GRAPH}
    return ConfigRuntime(config, find_current_call().tool_call_id, _read_state(configurable), **facts)


def _read_state(configurable: Mapping[str, Any]) -> dict[str, Any]:
    """Return the messages of the graph that a node belongs to, as LangGraph's `ToolNode` reads them; else nothing."""
    read = configurable.get("__pregel_read")
    try:
        return {"messages": read("messages")} if callable(read) else {}
    except Exception:  # noqa: BLE001  a graph without messages, or a version of LangGraph that reads otherwise
        return {}


_OF_GRAPH = ("context", "store", "stream_writer", "execution_info", "server_info")


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


def find_messages(runtime: Any) -> Sequence[Any] | None:
    """Return the messages of the state; None where they are not known."""
    state = getattr(runtime, "state", None)
    if isinstance(state, list):  # a ToolNode was called with messages alone
        return state
    values = state if isinstance(state, Mapping) else getattr(state, "__dict__", {})
    messages = values.get("messages")
    if not messages:  # a graph may keep them under another key: those in which the tool is called
        tool_call_id = getattr(runtime, "tool_call_id", None)
        messages = next((value for value in values.values() if _contains_call(value, tool_call_id)), messages)
    return messages if isinstance(messages, list | tuple) else None


def _contains_call(value: Any, tool_call_id: str | None) -> bool:
    if not tool_call_id or not isinstance(value, list | tuple):
        return False
    return any(call.get("id") == tool_call_id for message in read_messages(value) for call in message.tool_calls)


def find_thread(runtime: Any) -> str | None:
    """Return the thread id, or None where the conversation has none."""
    thread_id = find_configurable(runtime).get("thread_id")
    return None if thread_id in (None, "") else str(thread_id)


def find_thread_scope(runtime: Any) -> str | None:
    """Return the scope of the thread, or None where the conversation has none."""
    thread_id = find_thread(runtime)
    return None if thread_id is None else scope_thread(thread_id)


def warn_about_memory(checkpointer: Any) -> None:
    """Warn once where a conversation outlives its images."""
    if checkpointer is not None and not type(checkpointer).__name__.endswith("MemorySaver"):
        _warn_once()


def find_turn(runtime: Any) -> str:
    """Return the id of the newest human message, which lifts the guard against repeats; `""` where it is unknown."""
    messages = find_messages(runtime) or ()
    for index in range(len(messages) - 1, -1, -1):
        message = read_message(messages[index])
        if message.is_human:
            # Of a sub-agent the first is its task: another agent wrote it, and writes it again when it failed.
            is_task = index == 0 and _is_nested(runtime)
            return "" if is_task else str(message.id or index)  # the id stays when older messages are trimmed
    return ""


def build_conversation(
    runtime: Any, store: WanStore, scope: str, *, only_visible: bool, urls: ReferenceUrls
) -> Conversation:
    """Return the image references of the conversation that a runtime belongs to.

    Args:
        only_visible: Whether the scope is wider than the conversation, so that only ids in its messages count.
        urls: What is done with images that were attached by URL.
    """
    thread_id = find_thread(runtime)
    view = store.scoped(scope) if scope else store
    thread = None if thread_id is None else json.dumps([view.scope, thread_id])
    partial = _is_nested(runtime)
    if isinstance(runtime, ConfigRuntime):
        # What a node has just made is in no message yet, and without a checkpointer its messages are not the thread's.
        only_visible = False
        partial = partial or find_configurable(runtime).get("__pregel_checkpointer") is None
    return Conversation(view, find_messages(runtime), thread, partial=partial, only_visible=only_visible, urls=urls)


def _is_nested(runtime: Any) -> bool:
    """Say whether a graph inside of a graph calls, such as a sub-agent."""
    return "|" in str(find_configurable(runtime).get("checkpoint_ns", ""))


def call_scope_function(function: Callable[[Any], Any], runtime: Any) -> str:
    """Return the scope that a caller's function names; it is never that of a thread.

    Raises:
        WanConfigurationError: There is no runtime, the function failed, or it did not return a name.
    """
    if runtime is None:
        raise WanConfigurationError("The scope function needs a runtime: call the tool in a LangGraph agent.")
    try:
        name = complete(function(runtime))
    except Exception as error:
        raise WanConfigurationError(f"The scope function failed: {type(error).__name__}: {error}") from error
    if not isinstance(name, str) or not name.strip() or not is_well_formed(name):
        raise WanConfigurationError("The scope function must return a name: a string of valid text that is not empty.")
    return scope_name(name)


def write_progress(runtime: Any, event: Mapping[str, Any]) -> None:
    """Send an event to the caller that streams the graph, in the modes `custom` and `tools`."""
    for name in ("stream_writer", "emit_output_delta"):
        write = getattr(runtime, name, None)
        if write is not None:
            write(event)
