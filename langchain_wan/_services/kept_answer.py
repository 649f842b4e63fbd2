"""The raw answer that a store kept of a paid request: where it holds images, the request was billed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from langchain_wan._net.messages import Reply
from langchain_wan._net.signed_urls import find_expiry
from langchain_wan._services.aisa_chat import read_answer
from langchain_wan._services.answer import Answer
from langchain_wan._services.inputs import Inputs
from langchain_wan.errors import WanError


def read_kept(request: Mapping[str, Any], body: bytes | None) -> Answer | None:
    """Return the answer that was kept, or None if there is none that holds an image.

    Args:
        request: What the ledger says of the request.
        body: The raw answer.
    """
    if body is None:
        return None
    try:
        inputs = Inputs(request.get("inputs", ()), request["prompt"])
        return read_answer(Reply(200, {}, body), max_cost_usd=Decimal(0), inputs=inputs)
    except WanError:
        return None


def may_come(answer: Answer) -> bool:
    """Say whether an image of an answer can still be fetched: it is in the answer, or its URL has not expired."""
    now = datetime.now(UTC)
    urls = [part.url for part in answer.parts if part.url is not None]
    has_images = any(part.data is not None or part.content is not None for part in answer.parts)
    return has_images or any((end := find_expiry(url)) is None or end > now for url in urls)
