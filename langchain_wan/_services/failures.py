"""Answers without an image: refusals, which charge nothing, and everything else, which may have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langchain_wan._media import large_json
from langchain_wan._net.messages import Reply
from langchain_wan._services.foreign_text import clean_text, make_storable
from langchain_wan._services.refusals import Refusal, refusal_for
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    PaymentUncertainError,
    StatusError,
    UnreadableAnswerError,
    WanError,
)
from langchain_wan.retry import retry_after_seconds

if TYPE_CHECKING:
    from decimal import Decimal

OK = 200


@dataclass(frozen=True)
class ErrorBody:
    code: str | None
    message: str
    kind: str | None = None


def read_json(body: bytes) -> Any:
    try:
        return large_json.loads(body)
    except (ValueError, RecursionError):  # also integers of thousands of digits
        return None


def read_error(payload: Any) -> ErrorBody:
    # The five shapes: {"error": {...}}, {"error": "text"}, {"code", "message"}, {"message"}, and no JSON at all.
    if not isinstance(payload, dict):
        return ErrorBody(None, "")
    nested = payload.get("error")
    source = nested if isinstance(nested, dict) else payload
    message = nested if isinstance(nested, str) else source.get("message")
    # code may be absent, null or a number (the errors page against live answers); type says it then.
    code, kind = _word(source.get("code")), _word(source.get("type"))
    return ErrorBody(code or kind, message if isinstance(message, str) else "", kind)


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return clean_text(str(value)).encode("ascii", "ignore").decode().strip()[:100] or None


def judge(reply: Reply, found: ErrorBody) -> Refusal | None:
    by_code = refusal_for(reply.status, found.code, found.message)
    is_number = found.code is not None and found.code.isdigit()
    return refusal_for(reply.status, found.kind, found.message) if is_number else by_code


def build_failure(reply: Reply, payload: Any, max_cost_usd: Decimal) -> WanError:
    found = read_error(payload)
    refusal = judge(reply, found)
    if refusal is not None:
        return build_refusal(refusal, reply, found)
    said = f" {clean_text(found.message)}" if found.message else ""
    kind = UnreadableAnswerError if reply.status == OK else PaymentUncertainError
    return kind(
        f"The service answered with HTTP {reply.status}{f' ({found.code})' if found.code else ''}.{said}",
        next_step=BLOCKED_UNTIL_SETTLED,
        stage="status",
        status_code=reply.status,
        code=found.code,
        request_id=find_request_id(reply, payload),
        max_cost_usd=max_cost_usd,
    )


def build_refusal(refusal: Refusal, reply: Reply, found: ErrorBody) -> StatusError:
    said = clean_text(found.message)
    error = refusal.error(
        f"{refusal.what} (HTTP {reply.status}{f', {found.code}' if found.code else ''}{f': {said}' if said else ''})",
        next_step=refusal.next_step,
        advice=refusal.advice,
        status_code=reply.status,
        code=found.code,
        request_id=find_request_id(reply, read_json(reply.body)),
        retry_after=retry_after_seconds(reply.headers, now=datetime.now(UTC)),
    )
    error.data_uri_refused = refusal.data_uri_refused
    return error


def find_request_id(reply: Reply, payload: Any) -> str | None:
    nested = payload.get("error") if isinstance(payload, dict) else None
    for source in (nested, payload):
        if isinstance(source, dict) and isinstance(source.get("request_id"), str):
            return str(make_storable(source["request_id"]))[:200]
    return reply.headers.get("x-request-id")
