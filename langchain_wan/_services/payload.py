"""What every answer has, whatever it says: JSON, and perhaps a request id."""

from __future__ import annotations

from typing import Any

from langchain_wan._media import large_json
from langchain_wan._net.messages import Reply
from langchain_wan._services.foreign_text import make_storable

MAX_REQUEST_ID = 200  # characters


def read_json(body: bytes) -> Any:
    """Return the JSON value of a body; None if it is not JSON."""
    try:
        return large_json.loads(body)
    except (ValueError, RecursionError):  # also integers of thousands of digits
        return None


def find_request_id(reply: Reply, payload: Any) -> str | None:
    """Return the service's id of a request, from the body of its answer or from the headers."""
    nested = payload.get("error") if isinstance(payload, dict) else None
    for source in (nested, payload):
        if isinstance(source, dict) and isinstance(source.get("request_id"), str):
            return str(make_storable(source["request_id"][:MAX_REQUEST_ID]))
    request_id = reply.headers.get("x-request-id")
    return None if request_id is None else str(make_storable(request_id[:MAX_REQUEST_ID]))
