"""The API of AIsa for Wan images, as the sandbox answers it.

It answers as https://aisa.one/docs/api-reference/chat/image-generation and .../errors say (2026-04-22) and, where AIsa
passes on the model's answer, as https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference
(2026-05-30). It fetches nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from langchain_wan.sandbox.answers import (
    ANSWERS,
    CHAT,
    FIXED,
    PRICES,
    REQUEST_ID,
    WIRE_FAULTS,
    Answer,
    Fault,
    build_refusal,
    build_upstream_refusal,
    check_fault,
)
from langchain_wan.sandbox.images import check_input_image, choose_size, read_prompt
from langchain_wan.sandbox.results import Results

DOWNLOAD = "GET /images/"
HANG_SECONDS = 600  # seconds until "hang" is answered


class Aisa:
    """The routes of the API, what they have billed, and the results that can be downloaded.

    The arguments are those of `Sandbox`.

    Attributes:
        bill: The dollars that the service would have charged.
        origin: Where the server listens, as in `http://127.0.0.1:8377`; empty before it runs.
        draw: Draws an image; set when the server starts, because it needs Pillow.
    """

    api_key = "sk-aisa-sandbox"
    draw: Callable[..., bytes]

    def __init__(
        self, *, latency: float, base64: bool, url_ttl: float, faults: Iterable[Fault], data_uris: bool
    ) -> None:
        self._latency, self._base64, self._data_uris = latency, base64, data_uris
        self._faults = iter([check_fault(fault) for fault in faults])
        self._results = Results(url_ttl)
        self.bill, self.origin = Decimal(0), ""

    def is_authorized(self, route: str, query: Mapping[str, str], authorization: str) -> bool:
        """Say whether a request has the key, or a download the signature of its result."""
        if route.startswith(DOWNLOAD):
            return self._results.is_signed(route.removeprefix("GET "), query)
        scheme, _, key = authorization.partition(" ")
        return scheme.lower() == "bearer" and key == self.api_key

    async def answer(self, route: str, query: Mapping[str, str], authorization: str, payload: Any) -> Answer:
        """Answer a request; `route` is its method and path, `payload` its JSON or None.

        Raises:
            Answer: The request is refused.
        """
        if route.startswith(DOWNLOAD):
            return self._results.answer(route.removeprefix("GET "), query)
        if not self.is_authorized(route, query, authorization):
            return ANSWERS["invalid_api_key" if authorization.partition(" ")[2] else "missing_api_key"]
        fault = next(self._faults, None) if route == f"POST {CHAT}" else None
        if isinstance(fault, Answer):
            return fault
        if route == f"POST {CHAT}":
            return await self._chat(payload, fault)
        if route == "GET /v1/credits/balance":
            return self._balance()
        return FIXED.get(route, ANSWERS["unknown_model" if "/models/" in route else "unknown_endpoint"])

    def _balance(self) -> Answer:
        """Answer as https://github.com/AIsa-team/cli/blob/main/src/types.ts (2026-08-22) reads it, from $2 down."""
        used = int(self.bill * 10**6)
        key = {"unlimited": True, "remaining_micros_usd": 2 * 10**6 - used, "used_micros_usd": used}
        account = dict.fromkeys(("account_balance_micros_usd", "available_balance_micros_usd"), 2 * 10**6 - used)
        as_of = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return Answer({"currency": "USD", **account, "api_key": key, "as_of": as_of})

    async def _chat(self, payload: Any, fault: str | None) -> Answer:
        if fault == "hang":
            await asyncio.sleep(HANG_SECONDS)
            return ANSWERS["upstream_timeout"]
        began = time.monotonic()
        model, prompt, drawings = await asyncio.to_thread(self._plan, payload)
        try:
            images = await asyncio.gather(*map(asyncio.to_thread, drawings))
        except ValueError as error:
            raise build_upstream_refusal("The input image could not be decoded") from error
        await asyncio.sleep(began + self._latency - time.monotonic())
        self.bill += PRICES[model] * len(images)
        usage = {"prompt_tokens": 8 + len(prompt) // 4, "completion_tokens": 2 * len(images)}  # two tokens an image
        contents = [[{"type": "image", "image": self._store(image)}] for image in images]
        choices = [
            {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
            for index, content in enumerate(contents)
        ]
        body = {
            "id": f"chatcmpl-{REQUEST_ID}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
        }
        body |= {"choices": choices, "usage": usage | {"total_tokens": sum(usage.values())}}
        return Answer(body, sent=WIRE_FAULTS.get(fault or "", 1))

    def _plan(self, payload: Any) -> tuple[str, str, list[Callable[[], bytes]]]:
        """Check a request as the gateway and then the model would; return model, prompt, and what draws each image."""
        if not isinstance(payload, dict):
            raise build_refusal("json_parse_error" if payload is None else "invalid_request")
        prompt, urls = read_prompt(payload.get("messages"))
        model, n, seed = str(payload.get("model")), payload.get("n"), payload.get("seed")
        if model not in PRICES:
            raise build_refusal("model_not_found")
        if payload.get("stream"):
            raise build_upstream_refusal("x-dashscope-sse and stream parameter mismatch")
        n, seed = 4 if n is None else n, secrets.randbelow(2**31) if seed is None else seed
        for name, value, least, most in (("n", n, 1, 4), ("seed", seed, 0, 2**31 - 1)):
            if type(value) is not int or not least <= value <= most:
                raise build_upstream_refusal(f"Range of {name} should be [{least}, {most}]")
        references = [self._load_reference(url) for url in urls]
        ratio = check_input_image(references[-1]) if references and references[-1] else 1
        width, height = choose_size(payload.get("size"), 4096 if model.endswith("pro") and not urls else 2048, ratio)
        paint = partial(self.draw, prompt, width=width, height=height, seed=seed, references=references)
        return model, prompt, [partial(paint, index=index) for index in range(n)]

    def _load_reference(self, url: str) -> bytes | None:
        """Return an input image from its data or from a result of this sandbox; None for any other URL."""
        path, _, query = url.removeprefix(self.origin).partition("?")
        if url.startswith("data:") and not self._data_uris:
            raise build_upstream_refusal("data URIs are not accepted, pass a public URL", "InvalidURL")
        if url.startswith(("https://", "http://")) and not path.startswith("/images/"):
            return None
        if not url.startswith("data:"):
            answer = self._results.answer(path, dict(parse_qsl(query)))
            if answer.status != 200:
                raise build_upstream_refusal("Failed to download multimodal content", "BadRequest.InputDownloadFailed")
            return bytes(answer.body)
        try:
            data = b64decode(url.partition(";base64,")[2], validate=True)
        except ValueError as error:
            raise build_upstream_refusal("The data URI should be data:{mime type};base64,{data}") from error
        check_input_image(data)
        return data

    def _store(self, png: bytes) -> str:
        """Store a result for download and return its URL, or return its data."""
        if self._base64:
            return f"data:image/png;base64,{b64encode(png).decode()}"
        return f"{self.origin}{self._results.add(png)}"


def build_rate_limits() -> dict[str, str]:
    """Return the rate limit headers of the free tier; nothing is counted."""
    # https://aisa.one/docs/api-reference/rate-limits (2026-04-22)
    reset = int(time.time()) + 60
    left = {"Limit-Requests": 60, "Remaining-Requests": 59, "Limit-Tokens": 60000, "Remaining-Tokens": 59000}
    left |= {"Reset-Requests": reset, "Reset-Tokens": reset}
    return {f"X-RateLimit-{name}": str(value) for name, value in left.items()}
