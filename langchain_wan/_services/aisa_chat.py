"""AIsa's chat route for Wan images: builds its requests strictly, and reads its answers leniently. No I/O.

Source: https://aisa.one/docs/api-reference/chat/image-generation and https://aisa.one/docs/api-reference/errors,
both of 2026-04-22.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from langchain_wan._media import large_json
from langchain_wan._net.messages import Reply, WireRequest, is_success
from langchain_wan._services.answer import Answer, ImagePart
from langchain_wan._services.failures import read_error_body, read_failure, read_refusal, read_words
from langchain_wan._services.foreign_text import MAX_INTEGER
from langchain_wan._services.framing import read_values
from langchain_wan._services.image_text import is_image
from langchain_wan._services.inputs import Inputs
from langchain_wan._services.payload import find_request_id, read_json
from langchain_wan._services.reading import read_images
from langchain_wan._services.sizes import compute_size
from langchain_wan.errors import StatusError

if TYPE_CHECKING:
    from decimal import Decimal

    from langchain_wan.requests import ImageRequest


GENERATION_PATH = "/chat/completions"
BALANCE_PATH = "/credits/balance"
NO_INPUTS = Inputs()


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
        **upstream_parameters(request, model),
    }
    return WireRequest(
        "POST",
        GENERATION_PATH,
        large_json.dumps(body),
        {"Content-Type": "application/json", "Idempotency-Key": operation_key},
    )


def upstream_parameters(request: ImageRequest, model: str) -> dict[str, Any]:
    """Return the parameters of Wan itself that are set, in Wan's spelling."""
    named = request.model_dump(include={"size", "seed", "watermark", "thinking_mode", "negative_prompt"})
    parameters = {name: value for name, value in named.items() if value is not None}
    if request.size is not None:
        parameters["size"] = compute_size(request.size, model, has_images=bool(request.images))
    return parameters


def read_answer(reply: Reply, *, max_cost_usd: Decimal, inputs: Inputs = NO_INPUTS) -> Answer:
    """Read the answer of a generation.

    Args:
        inputs: What was sent, which is not a result where the answer contains it.

    Raises:
        StatusError: The service refused the request, and charged nothing.
        UnreadableAnswerError: A 200 without an image.
        PaymentUncertainError: Any other answer; it may have been charged.
    """
    if is_success(reply.status) and is_image(reply.body):
        return Answer((ImagePart(content=reply.body),), request_id=find_request_id(reply, None))
    values = read_values(reply.body)
    said = next((value for value in values if _is_error(value)), values[0] if values else None)
    if not is_success(reply.status):
        raise read_failure(reply, said, max_cost_usd)
    answer = read_images(reply, values, inputs)
    if answer.parts:  # images that came are delivered and billed, whatever else the answer says
        return answer
    if _is_error(said):
        raise read_failure(reply, said, max_cost_usd)
    raise read_words(reply, said, answer.notes, max_cost_usd)


def _is_error(payload: Any) -> bool:
    return isinstance(payload, dict) and bool(
        payload.get("error") or ("choices" not in payload and ("code" in payload or "message" in payload))
    )


def read_balance(reply: Reply) -> dict[str, Any]:
    """Read the answer of the balance route, whose balance is a number of 64 bits.

    Raises:
        StatusError: The answer has no balance.
    """
    payload = read_json(reply.body)
    if reply.status == HTTPStatus.OK:
        micros = payload.get("available_balance_micros_usd") if isinstance(payload, dict) else None
        if (
            isinstance(payload, dict)
            and isinstance(micros, int | float)
            and not isinstance(micros, bool)
            and abs(micros) <= MAX_INTEGER
        ):
            return payload
    elif (refused := read_refusal(reply, payload)) is not None:
        raise refused
    raise StatusError(
        f"The service gave no balance (HTTP {reply.status}).",
        next_step="Try again later.",
        status_code=reply.status,
        code=read_error_body(payload).code,
    )
