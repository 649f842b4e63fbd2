"""The call that a tool or a generator makes: who calls, and which paid call it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_wan._call.fingerprint import compute_fingerprint
from langchain_wan._tool.conversation import Conversation
from langchain_wan._tool.messages import Message, read_message
from langchain_wan._tool.repeats import SameObject, count_repeats
from langchain_wan._tool.runtime import ConfigRuntime, find_configurable, find_messages, find_thread, find_turn
from langchain_wan._tool.siblings import BatchOfCalls, Identity, identify_in_message

if TYPE_CHECKING:
    from langchain_wan._call.job import Call
    from langchain_wan.requests import ImageRequest
    from langchain_wan.settings import WanSettings


def build_call(
    request: ImageRequest,
    settings: WanSettings,
    runtime: Any,
    *,
    scope: str,
    conversation: Conversation | None,
    by_model: bool = False,
    shared: bool = False,
    batch: BatchOfCalls | None = None,
) -> Call:
    """Return who calls, as far as a runtime tells; `batch` is the one that the call belongs to."""
    from langchain_wan._call.job import Call  # loaded by the first call: importing the package stays cheap

    identity = _identify(runtime, scope or settings.store.scope, request, request.model or settings.model, batch)
    return Call(
        scope=scope,
        operation_id=identity.operation_id,
        asked_by=identity.asked_by,
        is_repeat_of=identity.is_repeat_of,
        tool_call_id=getattr(runtime, "tool_call_id", None),
        turn=find_turn(runtime),
        by_model=by_model,
        shared=shared,
        conversation=conversation,
        runtime=runtime,
    )


def _identify(runtime: Any, scope: str, request: ImageRequest, model: str, batch: BatchOfCalls | None) -> Identity:
    """Return which paid call it is, the same when its node or its task runs again."""
    thread_id, configurable = find_thread(runtime), find_configurable(runtime)
    namespace = str(configurable.get("checkpoint_ns", ""))  # in a node, it contains the id of the task
    tool_call_id = getattr(runtime, "tool_call_id", None) or ""
    # A node may call what stands in no message of the graph's state yet.
    messages = () if isinstance(runtime, ConfigRuntime) else find_messages(runtime) or ()
    caller, index = _find_caller(messages, tool_call_id)
    if thread_id is None or not (caller or namespace):
        return Identity() if batch is None else batch.identify()
    # A call that is repeated under one id with other arguments is another call.
    arguments = compute_fingerprint(request, model)
    caller_name = "" if caller is None else str(caller.id or index)
    parts = [scope, thread_id, namespace, caller_name, tool_call_id, arguments]
    ids = [] if caller is None else [call.get("id") for call in caller.tool_calls]
    if caller is not None and ids.count(tool_call_id) == 1:
        # Without an id, another message may stand at the same index later.
        is_known = caller.id is not None
        message = _digest([scope, thread_id, caller_name])
        return identify_in_message(_digest(parts), message, tool_call_id) if is_known else Identity(_digest(parts))
    call, attempt = json.dumps(parts), _find_attempt(runtime, configurable)

    def name(number: int) -> str:
        return _digest([*parts, str(number)])

    if batch is None:
        return Identity(name(count_repeats(attempt, call)))
    with batch.lock:
        return batch.identify_counted(call, count_repeats(attempt, call), name)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _find_caller(messages: Sequence[Any], tool_call_id: str) -> tuple[Message | None, int]:
    """Return the message that contains a tool call, and its index."""
    # A tool_call_id alone is not unique: some models begin at call_0 in every turn, or in every step.
    for index in range(len(messages) - 1, -1, -1):
        message = read_message(messages[index])
        if tool_call_id in [call.get("id") for call in message.tool_calls]:
            return message, index
    return None, 0


def _find_attempt(runtime: Any, configurable: Mapping[str, Any]) -> Hashable:
    """Return what is the same during one run of a node, and another when the node runs again."""
    info = getattr(runtime, "execution_info", None)
    started = getattr(info, "node_first_attempt_time", None)
    if started is None:  # LangGraph before 1.2: an object that each run of a node has anew
        started = SameObject(configurable.get("__pregel_scratchpad"))
    return find_thread(runtime), configurable.get("checkpoint_ns"), started, getattr(info, "node_attempt", None)
