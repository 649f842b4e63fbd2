"""Whose images a view of a store knows: threads and the names that a scope function returns are two namespaces.

A client may choose the id of its thread, so that it must not be taken for somebody's name.
"""

from __future__ import annotations

import json

THREAD, NAME = "thread:", "name:"
_OF_ONE_TOOL = "tool:"  # before a random id, for calls without a thread


def scope_thread(thread_id: str) -> str:
    """Return the scope of a thread."""
    return THREAD + thread_id


def scope_name(name: str) -> str:
    """Return the scope of a name that a scope function returned."""
    return NAME + name


def list_readable(scope: str) -> str:
    """Return the scopes whose images a scope knows, as a JSON list for a query.

    What code stores under a name without a kind belongs to the thread and to the name; code that asks for it sees both.

    >>> list_readable("thread:1")
    '["thread:1", "1"]'
    >>> list_readable("thread:name:anna")
    '["thread:name:anna"]'
    """
    kind = next((kind for kind in (THREAD, NAME) if scope.startswith(kind)), None)
    if kind is None:
        return json.dumps([scope, THREAD + scope, NAME + scope])
    name = scope.removeprefix(kind)
    is_plain = not name.startswith((THREAD, NAME, _OF_ONE_TOOL))
    return json.dumps([scope, *([name] if is_plain else [])])
