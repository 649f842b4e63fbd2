"""A pretend AIsa on this machine: the documented API over real HTTP, with placeholder pictures and no cost.

It answers as https://aisa.one/docs/api-reference/chat/image-generation and .../errors say (2026-04-22) and, where AIsa
hands on what the model says, as https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference
(2026-05-30). It listens on 127.0.0.1 only and fetches nothing. Needs the extra `sandbox`.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
import secrets
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

Fault = str | Mapping[str, Any] | None
_CHAT = "/v1/chat/completions"
# Dollars an image: https://aisa.one/docs/guides/pricing/ai-model-pricing-llm-inference (2026-04-22).
_PRICES = {"wan2.7-image": Decimal("0.030"), "wan2.7-image-pro": Decimal("0.075")}
_KEPT_BYTES = 512 * 1024 * 1024  # results in memory; beyond that the oldest go
_PATIENCE = 600  # seconds until "hang" is answered
_ID = "$request_id"  # in a body that is written before the request comes


@dataclass(frozen=True)
class SandboxRequest:
    """A request as it arrived: names of headers in lower case, `json` None where the body is no JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    json: Any


@dataclass(eq=False)
class _Answer(Exception):  # noqa: N818  not every answer is an error; one that is raised skips what is left to do
    body: Any = b""  # bytes, text, or what becomes JSON
    status: int = 200
    kind: str = ""  # if none, that of text or of JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: float = 1  # the share that is sent before the connection breaks; 0: not even the status


# https://aisa.one/docs/api-reference/errors (2026-04-22). `openai_error`, `invalid_parameter_error`, and that a
# workspace without Wan is answered 500: https://aisa.one/docs/api-reference/chat/image-generation (2026-04-22).
_CODES = {
    (400, "invalid_request_error"): "invalid_request missing_parameter json_parse_error invalid_parameter_error",
    (401, "authentication_error"): "missing_api_key invalid_api_key revoked_api_key",
    (403, "authentication_error"): "insufficient_permissions model_not_allowed region_blocked",
    (404, "invalid_request_error"): "unknown_model unknown_endpoint",
    (404, "openai_error"): "openai_error",
    (422, "invalid_request_error"): "unsupported_parameter content_policy_violation",
    (429, "rate_limit_error"): "rate_limit_exceeded upstream_rate_limit quota_exceeded",
    (500, "api_error"): "model_not_found internal_error",
    (503, "upstream_error"): "gateway_error",
    (504, "upstream_error"): "upstream_timeout",
}
_KINDS = {code: kind for kind, codes in _CODES.items() for code in codes.split()}


def _refusal(code: str, message: str = "") -> _Answer:
    status, kind = _KINDS[code]
    error = {"type": kind, "code": code, "message": message or code.replace("_", " "), "request_id": _ID}
    return _Answer({"error": error}, status, headers={"Retry-After": "1"} if code == "rate_limit_exceeded" else {})


def _upstream(message: str, code: str = "InvalidParameter") -> _Answer:
    """Refusals by the model itself: https://help.aliyun.com/zh/model-studio/error-code (2026-05-30)."""
    text = f"<400> InternalError.Algo.InvalidParameter: {message}"
    return _Answer({"error": {"message": text, "type": "invalid_request_error", "param": None, "code": code}}, 400)


# https://help.aliyun.com/zh/model-studio/content-security (2026-05-30); https://github.com/QwenLM/qwen-code/issues/3145
_TEXT = "<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content."
_INSPECTED = {"message": _TEXT, "type": "data_inspection_failed", "param": "None", "code": "data_inspection_failed"}
_ANSWERS = {code: _refusal(code) for code in _KINDS} | {
    "data_inspection_failed": _Answer({"error": _INSPECTED, "id": f"chatcmpl-{_ID}", "request_id": _ID}, 400),
    "Arrearage": _upstream("Access denied, please make sure your account is in good standing.", "Arrearage"),
    # Two flat fields: https://github.com/AIsa-team/agent-skills/blob/main/ai-models/llm-router/SKILL.md (2026-07-27).
    "insufficient_credits": _Answer({"code": "insufficient_credits", "message": "insufficient credits"}, 402),
    "upstream_unavailable": _Answer("<html><body><h1>502 Bad Gateway</h1></body></html>", 502, "text/html"),
    "empty": _Answer({"id": f"chatcmpl-{_ID}", "object": "chat.completion", "choices": []}),
    "error_200": _Answer({"error": {"type": "upstream_error", "code": "bad_response", "message": "bad response"}}),
}
_WIRE_FAULTS = {"disconnect": 0.0, "truncate": 0.5, "hang": 1.0}  # the share of the answer that is sent
_MODELS = [{"id": name, "owned_by": "alibaba", "supported_endpoint_types": ["openai"]} for name in _PRICES]
_FIXED = {f"GET /v1/models/{model['id']}": _Answer(model) for model in _MODELS} | {
    "GET /v1/models": _Answer({"object": "list", "data": _MODELS}),
    "POST /v1/images/generations": _refusal("openai_error", f"Wan images are made by POST {_CHAT}"),
}


def _checked(fault: Fault) -> _Answer | str | None:
    """Return the answer that a fault stands for, or the name of one that happens on the wire."""
    if isinstance(fault, Mapping):
        return _Answer(**fault)
    if fault not in {None, *_ANSWERS, *_WIRE_FAULTS}:
        raise ValueError(f"{fault!r} is no fault that the sandbox knows: {', '.join([*_ANSWERS, *_WIRE_FAULTS])}")
    return _ANSWERS.get(fault or "", fault)


def _asked(messages: Any) -> tuple[str, list[str]]:
    """Return the prompt of the last user message and the URLs of its images."""
    messages = messages if isinstance(messages, list) else [None]
    if not all(isinstance(message, dict) and isinstance(message.get("content"), list) for message in messages):
        raise _refusal("invalid_parameter_error", "Input should be a valid list: messages[*].content")
    contents = [message["content"] for message in messages if message.get("role") == "user"]
    texts, urls = [], []
    for part in contents[-1] if contents else []:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                urls.append(url)
            case _:
                raise _refusal("invalid_parameter_error", "Input should be a text or image part: messages[*].content")
    prompt = "\n".join(texts)[:5000]  # what is longer is cut silently upstream
    if not prompt.strip():
        raise _refusal("missing_parameter", "A text part with the prompt is required: messages")
    if len(urls) > 9:
        raise _upstream("The number of input images should be at most 9")
    return prompt, urls


def _proportion(data: bytes) -> float:
    """Check an input image by the upstream's rules, and return its width by its height as one sees it."""
    from PIL import Image

    rules = "JPEG, PNG (not transparent), BMP or WEBP, 240 to 8000 pixels a side, 1:8 to 8:1, at most 20 MB"
    wrong = _upstream(f"The input image should be {rules}")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "BMP", "WEBP"]) as image:
            (width, height), turned = image.size, image.getexif().get(0x0112, 1) > 4
            alpha = image.format == "PNG" and (image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info)
    except Exception as error:  # decoders raise many kinds on broken input
        raise wrong from error
    small, large = sorted((width, height))
    if alpha or small < 240 or large > min(8000, 8 * small) or len(data) > 20 * 1024 * 1024:
        raise wrong
    return height / width if turned else width / height


def _pixels(size: Any, most: int, proportion: float) -> tuple[int, int]:
    """Return width and height; a tier keeps the proportion of the last image, the default is 1K, not 2K as upstream."""
    if exact := re.fullmatch(r"(\d{1,5})[*x](\d{1,5})", str(size)):
        width, height = int(exact[1]), int(exact[2])
        if not 768**2 <= width * height <= most**2 or max(width, height) > 8 * min(width, height):
            raise _upstream(f"size should be 768*768 to {most}*{most} pixels, 1:8 to 8:1")
        return width, height
    side = {"None": 1024, "1K": 1024, "2K": 2048, "4K": 4096}.get(str(size), math.inf)
    if side > most:
        raise _upstream("size should be 1K, 2K, W*H, or for wan2.7-image-pro without images 4K")
    width, height = (round(side * math.sqrt(proportion) ** sign / 8) * 8 for sign in (1, -1))
    return min(width, height * 8), min(height, width * 8)


class Sandbox:
    """A service to develop and test against: `with Sandbox() as service:`, then `service.url`, `service.api_key`.

    `requests` lists all that arrived, downloads too; `bill` is what AIsa would have charged, in dollars.

    Args:
        latency: Seconds that it takes to make the images of one request.
        base64: Answer with base64 instead of URLs, as AIsa does for some workspaces.
        url_ttl: Seconds for which a result can be downloaded.
        faults: What goes wrong, for one POST to chat/completions after the other: None, the name of a cause (a wrong
            one lists all), or a dict of `status`, `body` (JSON or text) and `headers`. "disconnect" and "truncate"
            come after the work was done and billed, "hang" takes ten minutes; the others come at once, for nothing.
        data_uris: Whether images may be given as data URIs.
        port: The port on 127.0.0.1; 0 takes a free one.
    """

    api_key = "sk-aisa-sandbox"

    def __init__(
        self,
        latency: float = 0,
        base64: bool = False,
        url_ttl: float = 86400,
        faults: Iterable[Fault] = (),
        data_uris: bool = True,
        port: int = 0,
    ) -> None:
        self._latency, self._base64, self._url_ttl = latency, base64, url_ttl
        self._data_uris, self._port, self._faults = data_uris, port, iter([_checked(fault) for fault in faults])
        # Only the server's thread changes these, each in one step, so that others read them without a lock.
        self.requests: list[SandboxRequest] = []
        self.bill, self._origin = Decimal(0), ""
        self._results: dict[str, tuple[bytes, float, str]] = {}
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL for clients, ending in `/v1`."""
        if not self._origin:
            raise RuntimeError("The sandbox has no address before it runs: `with Sandbox() as service: ...`")
        return f"{self._origin}/v1"

    def start(self) -> Self:
        """Run in a thread with an event loop of its own; return once it listens. Needs the extra `sandbox`."""
        if self._thread is not None:
            return self
        try:
            from starlette.requests import Request
            from starlette.responses import Response
            from uvicorn import Config, Server

            from langchain_wan._drawing import draw
        except ImportError as error:
            raise ImportError("The sandbox needs more packages: pip install 'langchain-wan[sandbox]'") from error
        listener, ready = socket.create_server(("127.0.0.1", self._port)), threading.Event()
        self._origin = "http://{}:{}".format(*listener.getsockname())
        config = partial(Config, log_config=None, log_level="critical", lifespan="off", ws="none", http="h11")
        self._server = Server(config(self._serve, interface="asgi3"))
        self._draw, self._request, self._response = draw, Request, Response
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(listener, ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Break off what is under way and stop listening."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        # Instead of Server.serve(), which looks ten times a second whether to stop and waits for slow requests.
        server, config = self._server, self._server.config
        config.load()
        server.lifespan = config.lifespan_class(config)
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await server.startup(sockets=[listener])
        await server.on_tick(0)  # sets the Date header
        ready.set()
        await self._stopping.wait()
        server.servers[0].close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # requests under way learn of it; the end of the loop cancels them

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = self._request(scope, receive)
        try:
            payload = json.loads(await arrived.body() or "null")
        except (ValueError, RecursionError):
            payload = None
        self.requests.append(SandboxRequest(arrived.method, scope["path"], dict(arrived.headers), payload))
        try:
            answer = await self._answer(arrived, payload)
        except _Answer as refusal:
            answer = refusal
        request_id, body = secrets.token_hex(16), answer.body
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).replace(_ID, request_id).encode()
        headers = {"X-Request-Id": request_id} | (_rate_limits() if scope["path"] == _CHAT else {}) | {**answer.headers}
        kind = answer.kind or ("text/plain" if isinstance(answer.body, str) else "application/json")
        response = self._response(body, answer.status, headers, kind)
        if answer.sent:
            response.body = body[: int(len(body) * answer.sent)]  # less than the headers announce breaks the connection
            await response(scope, receive, send)
        for connection in self._server.server_state.connections:
            if answer.sent == 0 and getattr(connection, "scope", None) is scope:
                connection.transport.close()

    async def _answer(self, request: Request, payload: Any) -> _Answer:
        route = f"{request.method} {request.scope['path']}"
        if route.startswith("GET /images/"):
            return self._result(request.scope["path"], request.query_params)
        fault = next(self._faults, None) if route == f"POST {_CHAT}" else None
        if isinstance(fault, _Answer):
            return fault
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key != self.api_key:
            return _ANSWERS["invalid_api_key" if key else "missing_api_key"]
        if route == f"POST {_CHAT}":
            return await self._chat(payload, fault)
        if route == "GET /v1/credits/balance":
            return self._balance()
        return _FIXED.get(route, _ANSWERS["unknown_model" if "/models/" in route else "unknown_endpoint"])

    def _balance(self) -> _Answer:
        """Answer as https://github.com/AIsa-team/cli/blob/main/src/types.ts (2026-08-22) reads it, from $2 down."""
        used = int(self.bill * 10**6)
        key = {"unlimited": True, "remaining_micros_usd": 2 * 10**6 - used, "used_micros_usd": used}
        account = dict.fromkeys(("account_balance_micros_usd", "available_balance_micros_usd"), 2 * 10**6 - used)
        as_of = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return _Answer({"currency": "USD", **account, "api_key": key, "as_of": as_of})

    async def _chat(self, payload: Any, fault: str | None) -> _Answer:
        if fault == "hang":
            await asyncio.sleep(_PATIENCE)
            return _ANSWERS["upstream_timeout"]
        began = time.monotonic()
        model, prompt, drawings = await asyncio.to_thread(self._job, payload)
        try:
            images = await asyncio.gather(*map(asyncio.to_thread, drawings))
        except ValueError as error:
            raise _upstream("The input image could not be decoded") from error
        await asyncio.sleep(began + self._latency - time.monotonic())
        self.bill += _PRICES[model] * len(images)
        usage = {"prompt_tokens": 8 + len(prompt) // 4, "completion_tokens": 2 * len(images)}  # two tokens an image
        said = [{"role": "assistant", "content": [{"type": "image", "image": self._kept(image)}]} for image in images]
        choices = [{"index": i, "finish_reason": "stop", "message": message} for i, message in enumerate(said)]
        body = {"id": f"chatcmpl-{_ID}", "object": "chat.completion", "created": int(time.time()), "model": model}
        body |= {"choices": choices, "usage": usage | {"total_tokens": sum(usage.values())}}
        return _Answer(body, sent=_WIRE_FAULTS.get(fault or "", 1))

    def _job(self, payload: Any) -> tuple[str, str, list[Callable[[], bytes]]]:
        """Check a request in the order in which gateway and model would; return what draws its images."""
        if not isinstance(payload, dict):
            raise _refusal("json_parse_error" if payload is None else "invalid_request")
        prompt, urls = _asked(payload.get("messages"))
        model, n, seed = str(payload.get("model")), payload.get("n"), payload.get("seed")
        if model not in _PRICES:
            raise _refusal("model_not_found")
        if payload.get("stream"):
            raise _upstream("x-dashscope-sse and stream parameter mismatch")
        n, seed = 4 if n is None else n, secrets.randbelow(2**31) if seed is None else seed
        for name, value, least, most in (("n", n, 1, 4), ("seed", seed, 0, 2**31 - 1)):
            if type(value) is not int or not least <= value <= most:
                raise _upstream(f"Range of {name} should be [{least}, {most}]")
        references = [self._reference(url) for url in urls]
        proportion = _proportion(references[-1]) if references and references[-1] else 1
        width, height = _pixels(payload.get("size"), 4096 if model.endswith("pro") and not urls else 2048, proportion)
        paint = partial(self._draw, prompt, width=width, height=height, seed=seed, references=references)
        return model, prompt, [partial(paint, index=index) for index in range(n)]

    def _reference(self, url: str) -> bytes | None:
        """Return an image that was given by its data or is a result of this sandbox, None for any other URL."""
        path, _, query = url.removeprefix(self._origin).partition("?")
        if url.startswith("data:") and not self._data_uris:
            raise _upstream("data URIs are not accepted, pass a public URL", "InvalidURL")
        if url.startswith(("https://", "http://")) and not path.startswith("/images/"):
            return None
        if not url.startswith("data:"):
            answer = self._result(path, dict(parse_qsl(query)))
            if answer.status != 200:
                raise _upstream("Failed to download multimodal content", "BadRequest.InputDownloadFailed")
            return bytes(answer.body)
        try:
            data = b64decode(url.partition(";base64,")[2], validate=True)
        except ValueError as error:
            raise _upstream("The data URI should be data:{mime type};base64,{data}") from error
        _proportion(data)
        return data

    def _kept(self, png: bytes) -> str:
        """Keep a result for download and return its URL, or return its data."""
        if self._base64:
            return f"data:image/png;base64,{b64encode(png).decode()}"
        path, signature = f"/images/{secrets.token_hex(16)}.png", secrets.token_urlsafe()
        end = time.time() + self._url_ttl
        self._results[path] = (png, end, signature)
        while sum(len(kept) for kept, *_ in self._results.values()) > _KEPT_BYTES:
            del self._results[next(iter(self._results))]
        return f"{self._origin}{path}?{urlencode({'Expires': math.ceil(end), 'Signature': signature})}"

    def _result(self, path: str, query: Mapping[str, str]) -> _Answer:
        """Answer a download as the object storage does in which results lie upstream."""
        png, end, signature = self._results.get(path, (b"", math.inf, ""))
        forged = not secrets.compare_digest(query.get("Signature", "").encode(), signature.encode())
        for wrong, status, code, message in (
            (not png, 404, "NoSuchKey", "The specified key does not exist."),
            (forged, 403, "SignatureDoesNotMatch", "The request signature we calculated does not match."),
            (time.time() >= end, 403, "AccessDenied", "Request has expired."),
        ):
            if wrong:
                error = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{_ID}</RequestId></Error>"
                return _Answer(f'<?xml version="1.0" encoding="UTF-8"?>{error}', status, "application/xml")
        return _Answer(png, kind="image/png")


def _rate_limits() -> dict[str, str]:
    """The headers of https://aisa.one/docs/api-reference/rate-limits (2026-04-22), free tier; nothing is counted."""
    reset = int(time.time()) + 60
    left = {"Limit-Requests": 60, "Remaining-Requests": 59, "Limit-Tokens": 60000, "Remaining-Tokens": 59000}
    left |= {"Reset-Requests": reset, "Reset-Tokens": reset}
    return {f"X-RateLimit-{name}": str(value) for name, value in left.items()}
