"""AIsa's HTTP API as values: requests are built strictly, answers are read leniently. No I/O.

Source: https://aisa.one/docs/api-reference/chat/image-generation and https://aisa.one/docs/api-reference/errors,
both of 2026-04-22.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from langchain_wan import _large_json
from langchain_wan._refusals import Refusal, refusal_for
from langchain_wan.errors import HELD_BACK, PaymentUncertainError, StatusError, UnreadableAnswerError, WanError
from langchain_wan.retry import retry_after_seconds

if TYPE_CHECKING:
    from decimal import Decimal

    from langchain_wan.models import ImageRequest

GENERATION_PATH = "/chat/completions"
BALANCE_PATH = "/credits/balance"
EXCERPT = 200
GZIP_PIECE = 2**20  # bytes that are unpacked at once
OK = 200


@dataclass(frozen=True)
class WireRequest:
    """One HTTP request; the driver adds the origin and the key."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer that came whole; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class NotSent:
    """The request certainly did no work: no connection came about. `passing` says that it may work later."""

    reason: str
    passing: bool = True


@dataclass(frozen=True)
class Lost:
    """The request was sent, and no whole answer came.

    Attributes:
        stage: `"send"`, `"wait"` or `"read"`.
        received: What came before it broke; None where nothing did.
    """

    stage: str
    reason: str
    received: bytes | None = field(default=None, repr=False)


Outcome = Reply | NotSent | Lost


@dataclass(frozen=True)
class ImagePart:
    """One image of an answer: a URL, or base64 text (bare or as a data URI), or neither."""

    url: str | None = None
    data: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """What a generation answered; `model` as the service names it."""

    parts: tuple[ImagePart, ...]
    notes: tuple[str, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    model: str | None = None


def generation_request(
    request: ImageRequest, *, model: str, references: Sequence[str], operation_key: str
) -> WireRequest:
    """Build the one request of a generation.

    Args:
        references: A URL or data URI for each input image, in order.
        operation_key: Equal for each try of one logical call. AIsa documents no idempotency key, so nothing
            relies on it; a gateway that learns it can use it.
    """
    # content is always an array (a plain string is answered with 400), images stand before the one text part,
    # and n is always sent: without it the service makes, and bills, four. No stream: upstream refuses it.
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in references]
    content.append({"type": "text", "text": request.prompt})
    body: dict[str, Any] = {
        **request.extra_body,
        "model": model,
        "n": request.n,
        "messages": [{"role": "user", "content": content}],
        **upstream_parameters(request),
    }
    return WireRequest(
        "POST",
        GENERATION_PATH,
        _large_json.dumps(body),
        {"Content-Type": "application/json", "Idempotency-Key": operation_key},
    )


def upstream_parameters(request: ImageRequest) -> dict[str, Any]:
    """Return the parameters of Wan itself that are set, in Wan's spelling."""
    named = request.model_dump(include={"size", "seed", "watermark", "thinking_mode", "negative_prompt"})
    parameters = {name: value for name, value in named.items() if value is not None}
    if "size" in parameters:  # 1280*720 upstream, 1280x720 elsewhere
        parameters["size"] = parameters["size"].replace("x", "*").replace("X", "*")
    return parameters


def decoded_reply(status: int, headers: Mapping[str, str], body: bytes, cap: int) -> Outcome:
    """Return an answer that came whole, gzip decoded to at most `cap` bytes; other encodings can't be read."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return Reply(status, headers, body)
    problem = "an unknown encoding"
    if encoding in {"gzip", "x-gzip"}:
        try:
            # Measured before it is kept: a bomb is refused without ever being in memory.
            if any(size > cap for size in accumulate(map(len, _gunzipped(body)))):
                problem = "oversized gzip"
            else:
                return Reply(status, headers, b"".join(_gunzipped(body)))
        except (zlib.error, EOFError):
            problem = "broken gzip"
    return Lost("read", f"the answer can't be decoded: {problem}", body if status < 300 else None)  # noqa: PLR2004


def _gunzipped(body: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    rest = body
    while not decoder.eof:
        piece = decoder.decompress(rest, GZIP_PIECE)
        rest = decoder.unconsumed_tail
        if not piece and not rest and not decoder.eof:
            raise EOFError
        yield piece


def read_answer(reply: Reply, *, max_cost_usd: Decimal) -> Answer:
    """Read the answer of a generation.

    Raises:
        StatusError: The service refused, and did no work.
        UnreadableAnswerError: A 200 that holds no image.
        PaymentUncertainError: Any other answer; work may have been done and charged.
    """
    payload = _json(reply.body)
    if not 200 <= reply.status < 300:  # noqa: PLR2004  the 2xx range
        raise _failure(reply, payload, max_cost_usd)
    if isinstance(payload, dict):
        answer = _answer(reply, payload)
        if answer.parts:  # images that came are delivered and paid, whatever else the answer says
            return answer
        if payload.get("error") or ("choices" not in payload and ("code" in payload or "message" in payload)):
            raise _failure(reply, payload, max_cost_usd)
    raise UnreadableAnswerError(
        "The service answered without a picture.",
        next_step=f"The raw answer is kept. {HELD_BACK}",
        stage="read",
        status_code=reply.status,
        request_id=_request_id(reply, payload),
        max_cost_usd=max_cost_usd,
    )


def read_balance(reply: Reply) -> dict[str, Any]:
    """Read the answer of the balance route.

    Raises:
        StatusError: The service did not give a balance.
    """
    payload = _json(reply.body)
    if reply.status == OK and isinstance(payload, dict) and "available_balance_micros_usd" in payload:
        return payload
    found = _error_of(payload)
    refusal = _judged(reply, found)
    if refusal is not None and reply.status != OK:
        raise _refused(refusal, reply, found)
    raise StatusError(
        f"The service gave no balance (HTTP {reply.status}).",
        next_step="Try again later.",
        status_code=reply.status,
        code=found.code,
    )


def expiry_of(url: str) -> datetime | None:
    """Return when a signed URL ends, or None if it does not say."""
    try:
        query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return None
    try:
        if "expires" in query:  # OSS: seconds since 1970
            return datetime.fromtimestamp(int(query["expires"]), UTC)
        for vendor in ("x-oss", "x-amz"):
            if f"{vendor}-expires" in query:
                signed = datetime.strptime(query[f"{vendor}-date"], "%Y%m%dT%H%M%S%z")
                return signed + timedelta(seconds=int(query[f"{vendor}-expires"]))
    except (ValueError, OverflowError, OSError, KeyError):
        return None
    return None


def cleaned(text: str) -> str:
    """Return one line of a foreign text that may stand in an error: no HTML, URL, address or key; 200 characters."""
    text = text[:EXAMINED]
    if re.search(r"<\s*(!doctype|html|head|body|\?xml)", text, re.IGNORECASE):
        return ""
    for pattern, shown in _foreign():
        text = pattern.sub(shown, text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


EXAMINED = 2000


@lru_cache(maxsize=1)  # compiled when an error is read, not when the package is imported
def _foreign() -> tuple[tuple[re.Pattern[str], str], ...]:
    return (
        (re.compile(r"<[a-zA-Z/!?][^<>]{0,500}>?"), " "),  # markup; not the "<400>" before Alibaba's codes
        (re.compile(r"[a-zA-Z][\w+.-]{0,20}://\S+"), "[url]"),
        (re.compile(r"\S+\?\S*=\S*"), "[url]"),
        (re.compile(r"\bdata:\S+", re.IGNORECASE), "[data]"),
        (re.compile(r"\b(?:bearer\s+\S{6,}|basic\s+[a-z0-9+/=]{12,})", re.IGNORECASE), "[key]"),
        (re.compile(r"\bsk[-_][\w.-]{6,}", re.IGNORECASE), "[key]"),
        (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "[address]"),
        (
            re.compile(
                r"\[?(?<![\w:])(?:(?:[0-9a-fA-F]{1,4}:){3,}|(?:[0-9a-fA-F]{1,4}:)*::?)(?=[0-9a-fA-F:])[0-9a-fA-F.:]*\]?"
            ),
            "[address]",
        ),
    )


@dataclass(frozen=True)
class _ErrorBody:
    code: str | None
    message: str
    kind: str | None = None


def _json(body: bytes) -> Any:
    try:
        return _large_json.loads(body)
    except (ValueError, RecursionError):  # also integers of thousands of digits
        return None


def _error_of(payload: Any) -> _ErrorBody:
    # The five shapes: {"error": {...}}, {"error": "text"}, {"code", "message"}, {"message"}, and no JSON at all.
    if not isinstance(payload, dict):
        return _ErrorBody(None, "")
    nested = payload.get("error")
    source = nested if isinstance(nested, dict) else payload
    message = nested if isinstance(nested, str) else source.get("message")
    # code may be absent, null or a number (the errors page against live answers); type says it then.
    code, kind = _word(source.get("code")), _word(source.get("type"))
    return _ErrorBody(code or kind, message if isinstance(message, str) else "", kind)


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return cleaned(str(value)).encode("ascii", "ignore").decode().strip()[:100] or None


def _judged(reply: Reply, found: _ErrorBody) -> Refusal | None:
    by_code = refusal_for(reply.status, found.code, found.message)
    is_number = found.code is not None and found.code.isdigit()
    return refusal_for(reply.status, found.kind, found.message) if is_number else by_code


def _failure(reply: Reply, payload: Any, max_cost_usd: Decimal) -> WanError:
    found = _error_of(payload)
    refusal = _judged(reply, found)
    if refusal is not None:
        return _refused(refusal, reply, found)
    said = f" {cleaned(found.message)}" if found.message else ""
    kind = UnreadableAnswerError if reply.status == OK else PaymentUncertainError
    return kind(
        f"The service answered with HTTP {reply.status}{f' ({found.code})' if found.code else ''}.{said}",
        next_step=HELD_BACK,
        stage="status",
        status_code=reply.status,
        code=found.code,
        request_id=_request_id(reply, payload),
        max_cost_usd=max_cost_usd,
    )


def _refused(refusal: Refusal, reply: Reply, found: _ErrorBody) -> StatusError:
    said = cleaned(found.message)
    error = refusal.error(
        f"{refusal.what} (HTTP {reply.status}{f', {found.code}' if found.code else ''}{f': {said}' if said else ''})",
        next_step=refusal.next_step,
        advice=refusal.advice,
        status_code=reply.status,
        code=found.code,
        request_id=_request_id(reply, _json(reply.body)),
        retry_after=retry_after_seconds(reply.headers, now=datetime.now(UTC)),
    )
    error.data_uri_refused = refusal.data_uri_refused
    return error


def _request_id(reply: Reply, payload: Any) -> str | None:
    nested = payload.get("error") if isinstance(payload, dict) else None
    for source in (nested, payload):
        if isinstance(source, dict) and isinstance(source.get("request_id"), str):
            return str(_sendable(source["request_id"]))[:200]
    return reply.headers.get("x-request-id")


def _sendable(value: Any, depth: int = 10) -> Any:
    """Return a value of an answer as every file and message can hold it: not too deep, no halves of surrogate pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {_sendable(name): _sendable(inner, depth - 1) for name, inner in value.items()}
    return [_sendable(inner, depth - 1) for inner in value]


def _answer(reply: Reply, payload: Mapping[str, Any]) -> Answer:
    images: list[ImagePart] = []
    notes: list[str] = []
    choices = payload.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else [content]:
            _read_part(part, images, notes)
    usage = payload.get("usage")
    model = payload.get("model")
    return Answer(
        tuple(images),
        tuple(notes),
        _sendable(usage) if isinstance(usage, dict) else {},
        _request_id(reply, payload),
        _sendable(model) if isinstance(model, str) else None,
    )


def _read_part(part: Any, images: list[ImagePart], notes: list[str]) -> None:
    if isinstance(part, str):
        if part.startswith(("http://", "https://", "data:")) and not part.split(maxsplit=1)[1:]:
            images.append(_image_part(part))
        elif part.strip():
            notes.append(_sendable(part[:2000]))
        return
    if not isinstance(part, dict):
        return
    shown = [part.get(name) for name in ("image", "image_url", "url", "b64_json")]
    texts = [value.get("url") if isinstance(value, dict) else value for value in shown]
    found = next((text for text in texts if isinstance(text, str) and text), None)
    if found is not None:
        images.append(_image_part(found))
    elif isinstance(part.get("text"), str):
        if part["text"].strip():
            notes.append(_sendable(part["text"][:2000]))
    elif part.get("type") in ("image", "image_url"):
        images.append(ImagePart())  # announced, and perhaps billed, but not there


def _image_part(text: str) -> ImagePart:
    is_url = re.match(r"https?://", text[:8], re.IGNORECASE)
    return ImagePart(url=text) if is_url else ImagePart(data=text)
