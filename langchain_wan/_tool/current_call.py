"""What a tool's `run` knows of the call that is running, for functions that LangChain calls without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from langchain_wan._tool.siblings import BatchOfCalls
from langchain_wan.errors import WanError


@dataclass
class CurrentCall:
    """The call of a tool that is running.

    Attributes:
        name: The tool's.
        tool_call_id: The id that the model gave it; None for a call by code.
        batch: The batch that it belongs to, or None.
        errors: What it raised: LangChain's handler of errors sees only the error, and the message's artifact needs it.
    """

    name: str = ""
    tool_call_id: str | None = None
    errors: list[WanError] = field(default_factory=list)
    batch: BatchOfCalls | None = None


_current: ContextVar[CurrentCall | None] = ContextVar("langchain_wan_current_call", default=None)


@contextmanager
def tool_call(name: str, tool_call_id: str | None, batch: BatchOfCalls | None) -> Iterator[CurrentCall]:
    """Make a call of a tool the current one."""
    call = CurrentCall(name, tool_call_id, batch=batch)
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)


def find_current_call() -> CurrentCall:
    """Return the call that is running; an empty one outside of a call."""
    return _current.get() or CurrentCall()
