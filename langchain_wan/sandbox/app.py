"""A fake AIsa on this machine: the documented API over real HTTP, with placeholder images and no cost.

It answers as https://aisa.one/docs/api-reference/chat/image-generation and .../errors say (2026-04-22) and, where AIsa
passes on the model's answer, as https://help.aliyun.com/zh/model-studio/wan-image-generation-and-editing-api-reference
(2026-05-30). It listens on 127.0.0.1 only and fetches nothing. Needs the extra `sandbox`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Self
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

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send


HANG_SECONDS = 600  # seconds until "hang" is answered


@dataclass(frozen=True)
class SandboxRequest:
    """A request as it arrived: header names in lower case; `json` is None if the body is not JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    json: Any


class Sandbox:
    """A service to develop and test against: `with Sandbox() as service:`, then `service.url`, `service.api_key`.

    `requests` lists all requests that arrived, downloads too; `bill` is what AIsa would have charged, in dollars.

    Args:
        latency: Seconds that one request takes.
        base64: Answer with base64 instead of URLs, as AIsa does for some workspaces.
        url_ttl: Seconds for which a result can be downloaded.
        faults: One entry for each POST to chat/completions, in order: None, the name of a fault (an unknown name
            raises an error that lists all), or a dict of `status`, `body` (JSON or text) and `headers`. "disconnect"
            and "truncate" happen after the images were made and billed; "hang" answers after ten minutes; all others
            answer at once and bill nothing.
        data_uris: Whether input images may be data URIs.
        port: The port on 127.0.0.1; 0 for any free port.
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
        self._latency, self._base64, self._data_uris, self._port = latency, base64, data_uris, port
        self._faults = iter([check_fault(fault) for fault in faults])
        # Only the server's thread changes these, each in one step, so that others read them without a lock.
        self.requests: list[SandboxRequest] = []
        self.bill, self._origin = Decimal(0), ""
        self._results = Results(url_ttl)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL for clients, ending in `/v1`."""
        if not self._origin:
            raise RuntimeError(
                "The sandbox has no URL before it runs: use `with Sandbox() as service:` or call start() first."
            )
        return f"{self._origin}/v1"

    def start(self) -> Self:
        """Start a thread with its own event loop, and return when the server listens. Needs the extra `sandbox`."""
        if self._thread is not None:
            return self
        try:
            from starlette.requests import Request
            from starlette.responses import Response
            from uvicorn import Config, Server

            from langchain_wan.sandbox.drawing import draw
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
        """Abort open requests and stop listening."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        # Instead of Server.serve(), which polls ten times a second whether to stop and waits for slow requests.
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
        await asyncio.sleep(0)  # open requests notice; the end of the loop cancels them

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = self._request(scope, receive)
        try:
            payload = json.loads(await arrived.body() or "null")
        except (ValueError, RecursionError):
            payload = None
        self.requests.append(SandboxRequest(arrived.method, scope["path"], dict(arrived.headers), payload))
        try:
            answer = await self._answer(arrived, payload)
        except Answer as refusal:
            answer = refusal
        request_id, body = secrets.token_hex(16), answer.body
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).replace(REQUEST_ID, request_id).encode()
        headers = {"X-Request-Id": request_id} | (_rate_limits() if scope["path"] == CHAT else {}) | {**answer.headers}
        kind = answer.kind or ("text/plain" if isinstance(answer.body, str) else "application/json")
        response = self._response(body, answer.status, headers, kind)
        if answer.sent:
            response.body = body[: int(len(body) * answer.sent)]  # less than the headers announce breaks the connection
            await response(scope, receive, send)
        for connection in self._server.server_state.connections:
            if answer.sent == 0 and getattr(connection, "scope", None) is scope:
                connection.transport.close()

    async def _answer(self, request: Request, payload: Any) -> Answer:
        route = f"{request.method} {request.scope['path']}"
        if route.startswith("GET /images/"):
            return self._results.answer(request.scope["path"], request.query_params)
        fault = next(self._faults, None) if route == f"POST {CHAT}" else None
        if isinstance(fault, Answer):
            return fault
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key != self.api_key:
            return ANSWERS["invalid_api_key" if key else "missing_api_key"]
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
        paint = partial(self._draw, prompt, width=width, height=height, seed=seed, references=references)
        return model, prompt, [partial(paint, index=index) for index in range(n)]

    def _load_reference(self, url: str) -> bytes | None:
        """Return an input image from its data or from a result of this sandbox; None for any other URL."""
        path, _, query = url.removeprefix(self._origin).partition("?")
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
        return f"{self._origin}{self._results.add(png)}"


def _rate_limits() -> dict[str, str]:
    """The headers of https://aisa.one/docs/api-reference/rate-limits (2026-04-22), free tier; nothing is counted."""
    reset = int(time.time()) + 60
    left = {"Limit-Requests": 60, "Remaining-Requests": 59, "Limit-Tokens": 60000, "Remaining-Tokens": 59000}
    left |= {"Reset-Requests": reset, "Reset-Tokens": reset}
    return {f"X-RateLimit-{name}": str(value) for name, value in left.items()}
