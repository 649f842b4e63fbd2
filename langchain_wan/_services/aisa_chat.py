"""AIsa's chat route for Wan images: builds its requests strictly, and reads its answers leniently. No I/O.

Source: https://aisa.one/docs/api-reference/chat/image-generation and https://aisa.one/docs/api-reference/errors,
both of 2026-04-22.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_wan._media import large_json
from langchain_wan._net.messages import Reply, WireRequest, is_success
from langchain_wan._services.answer import Answer, ImagePart
from langchain_wan._services.failures import read_error_body, read_failure, read_refusal
from langchain_wan._services.foreign_text import make_storable
from langchain_wan._services.payload import find_request_id, read_json
from langchain_wan.errors import BLOCKED_UNTIL_SETTLED, StatusError, UnreadableAnswerError

if TYPE_CHECKING:
    from decimal import Decimal

    from langchain_wan.requests import ImageRequest


GENERATION_PATH = "/chat/completions"
BALANCE_PATH = "/credits/balance"
MAX_NOTE = 2000  # characters


def generation_request(
    request: ImageRequest, *, model: str, references: Sequence[str], operation_key: str
) -> WireRequest:
    """Build the request of a generation.

    Args:
        references: A URL or data URI for each input image, in order.
        operation_key: The same for each attempt of one operation. AIsa documents no idempotency key, so nothing
            relies on it; a gateway that knows such keys can use it.
    """
    # content is always an array (a plain string is answered with 400), with the images before the one text part.
    # n is always sent: without it the service makes, and bills, four images. No stream: upstream refuses it.
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
        large_json.dumps(body),
        {"Content-Type": "application/json", "Idempotency-Key": operation_key},
    )


def upstream_parameters(request: ImageRequest) -> dict[str, Any]:
    """Return the parameters of Wan itself that are set, in Wan's spelling."""
    named = request.model_dump(include={"size", "seed", "watermark", "thinking_mode", "negative_prompt"})
    parameters = {name: value for name, value in named.items() if value is not None}
    if "size" in parameters:  # Alibaba writes 1280*720
        parameters["size"] = parameters["size"].replace("x", "*").replace("X", "*")
    return parameters


def read_answer(reply: Reply, *, max_cost_usd: Decimal) -> Answer:
    """Read the answer of a generation.

    Raises:
        StatusError: The service refused the request, and charged nothing.
        UnreadableAnswerError: A 200 without an image.
        PaymentUncertainError: Any other answer; it may have been charged.
    """
    payload = read_json(reply.body)
    if not is_success(reply.status):
        raise read_failure(reply, payload, max_cost_usd)
    if isinstance(payload, dict):
        answer = _read_choices(reply, payload)
        if answer.parts:  # images that came are delivered and billed, whatever else the answer says
            return answer
        if payload.get("error") or ("choices" not in payload and ("code" in payload or "message" in payload)):
            raise read_failure(reply, payload, max_cost_usd)
    raise UnreadableAnswerError(
        "The service answered without an image.",
        next_step=f"The raw answer is kept. {BLOCKED_UNTIL_SETTLED}",
        stage="read",
        status_code=reply.status,
        request_id=find_request_id(reply, payload),
        max_cost_usd=max_cost_usd,
    )


def read_balance(reply: Reply) -> dict[str, Any]:
    """Read the answer of the balance route.

    Raises:
        StatusError: The answer has no balance.
    """
    payload = read_json(reply.body)
    if reply.status == HTTPStatus.OK:
        if isinstance(payload, dict) and "available_balance_micros_usd" in payload:
            return payload
    elif (refused := read_refusal(reply, payload)) is not None:
        raise refused
    raise StatusError(
        f"The service gave no balance (HTTP {reply.status}).",
        next_step="Try again later.",
        status_code=reply.status,
        code=read_error_body(payload).code,
    )


def _read_choices(reply: Reply, payload: Mapping[str, Any]) -> Answer:
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
        make_storable(usage) if isinstance(usage, dict) else {},
        find_request_id(reply, payload),
        make_storable(model) if isinstance(model, str) else None,
    )


def _read_part(part: Any, images: list[ImagePart], notes: list[str]) -> None:
    if isinstance(part, str):
        if part.startswith(("http://", "https://", "data:")) and not part.split(maxsplit=1)[1:]:
            images.append(_build_image_part(part))
        elif part.strip():
            notes.append(make_storable(part[:MAX_NOTE]))
        return
    if not isinstance(part, dict):
        return
    values = [part.get(name) for name in ("image", "image_url", "url", "b64_json")]
    texts = [value.get("url") if isinstance(value, dict) else value for value in values]
    image = next((text for text in texts if isinstance(text, str) and text), None)
    if image is not None:
        images.append(_build_image_part(image))
    elif isinstance(part.get("text"), str):
        if part["text"].strip():
            notes.append(make_storable(part["text"][:MAX_NOTE]))
    elif part.get("type") in ("image", "image_url"):
        images.append(ImagePart())  # announced, and perhaps billed, but missing


def _build_image_part(text: str) -> ImagePart:
    is_url = re.match(r"https?://", text[:8], re.IGNORECASE)
    return ImagePart(url=text) if is_url else ImagePart(data=text)
