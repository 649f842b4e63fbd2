"""Answers without an image: refusals, which charge nothing, and all others, which may have been charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_wan._net.messages import Reply
from langchain_wan._services.foreign_text import clean_text, quote_text
from langchain_wan._services.payload import find_request_id
from langchain_wan._services.refusals import find_refusal
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    PaymentUncertainError,
    StatusError,
    UnreadableAnswerError,
    WanError,
)
from langchain_wan.retry import parse_retry_after

if TYPE_CHECKING:
    from decimal import Decimal


def read_failure(reply: Reply, payload: Any, max_cost_usd: Decimal) -> WanError:
    """Return the error that an answer without an image means."""
    refused = read_refusal(reply, payload)
    if refused is not None:
        return refused
    body = read_error_body(payload)
    error_type = UnreadableAnswerError if reply.status == HTTPStatus.OK else PaymentUncertainError
    return error_type(
        f"The service answered without an image ({_quote(reply, body)}).",
        next_step=BLOCKED_UNTIL_SETTLED,
        stage="status",
        status_code=reply.status,
        code=body.code,
        request_id=find_request_id(reply, payload),
        max_cost_usd=max_cost_usd,
    )


def read_words(reply: Reply, payload: Any, texts: Sequence[str], max_cost_usd: Decimal) -> UnreadableAnswerError:
    """Return the error of an answer that has words where an image should be; they are quoted, as the service's own."""
    quote = quote_text(" ".join(texts))
    said = f" It said: {quote}" if quote else ""
    advice = f"{UnreadableAnswerError.default_advice}{f' The service said: {quote}' if quote else ''}"
    return UnreadableAnswerError(
        f"The service answered without an image.{said}",
        next_step=f"The raw answer is kept. {BLOCKED_UNTIL_SETTLED}",
        advice=advice,
        stage="read",
        status_code=reply.status,
        request_id=find_request_id(reply, payload),
        max_cost_usd=max_cost_usd,
    )


def read_refusal(reply: Reply, payload: Any) -> StatusError | None:
    """Return the error of an answer that certainly charges nothing, or None if it may have been charged."""
    body = read_error_body(payload)
    # A number as code only repeats a status: then the type says what is meant.
    name = body.kind if body.code is not None and body.code.isdigit() else body.code
    refusal = find_refusal(reply.status, name, body.message)
    if refusal is None:
        return None
    error = refusal.error(
        f"{refusal.what.removesuffix('.')} ({_quote(reply, body)}).",
        next_step=refusal.next_step,
        advice=refusal.advice,
        status_code=reply.status,
        code=body.code,
        request_id=find_request_id(reply, payload),
        retry_after=parse_retry_after(reply.headers, now=datetime.now(UTC)),
    )
    error.input_url_refused = refusal.input_url_refused
    quote = quote_text(body.message)
    if quote and not error.needs_operator and not error.is_retryable:  # what a model may change, or must explain
        error.advice += f" The service said: {quote}"
    return error


@dataclass(frozen=True)
class ErrorBody:
    """What the body of an error says: its code, its message, and its type."""

    code: str | None
    message: str
    kind: str | None = None


def read_error_body(payload: Any) -> ErrorBody:
    """Read any of five shapes: {"error": {...}}, {"error": "text"}, {"code", "message"}, {"message"}, and no JSON."""
    if not isinstance(payload, dict):
        return ErrorBody(None, "")
    nested = payload.get("error")
    source = nested if isinstance(nested, dict) else payload
    message = nested if isinstance(nested, str) else source.get("message")
    # The code may be missing, null or a number (the errors page, and live answers): then the type says what is meant.
    code, kind = _read_word(source.get("code")), _read_word(source.get("type"))
    return ErrorBody(code or kind, message if isinstance(message, str) else "", kind)


def _quote(reply: Reply, body: ErrorBody) -> str:
    """Return what the service said, for the operator: its status, its code and its own words."""
    code = f", {body.code}" if body.code else ""
    message = clean_text(body.message)
    return f"HTTP {reply.status}{code}{f': {message}' if message else ''}"


def _read_word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return clean_text(str(value)).encode("ascii", "ignore").decode().strip()[:100] or None
