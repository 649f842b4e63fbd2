"""The server of the sandbox: a fake AIsa over real HTTP, with placeholder images and no cost.

It listens on 127.0.0.1 only. Needs the extra `sandbox`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langchain_wan.sandbox.aisa import Aisa, build_rate_limits
from langchain_wan.sandbox.answers import CHAT, REQUEST_ID, Answer, Fault, check_source

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

MAX_REQUESTS = 10_000  # recorded; beyond that the oldest are dropped
MAX_REQUEST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class SandboxRequest:
    """A request as it arrived: header names in lower case; `json` is None if the body is not JSON, `size` its bytes."""

    method: str
    path: str
    headers: Mapping[str, str]
    json: Any
    size: int = 0


class Sandbox:
    """A service to develop and test against: `with Sandbox() as service:`, then `service.url`, `service.api_key`.

    `requests` lists the requests that arrived, downloads too: the newest 10,000, and at most 256 MiB of them. What came
    without the key, or without the signature of a download, is not among them. `bill` is what AIsa would have charged,
    in dollars.

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

    api_key = Aisa.api_key

    def __init__(
        self,
        latency: float = 0,
        base64: bool = False,
        url_ttl: float = 86400,
        faults: Iterable[Fault] = (),
        data_uris: bool = True,
        port: int = 0,
    ) -> None:
        self._port = port
        self._aisa = Aisa(latency=latency, base64=base64, url_ttl=url_ttl, faults=faults, data_uris=data_uris)
        # Only the server's thread changes the requests and the bill, each in one step: others read without a lock.
        self.requests: list[SandboxRequest] = []
        self._thread: threading.Thread | None = None

    @property
    def bill(self) -> Decimal:
        """The dollars that AIsa would have charged."""
        return self._aisa.bill

    @property
    def url(self) -> str:
        """The base URL for clients, ending in `/v1`."""
        if not self._aisa.origin:
            raise RuntimeError(
                "The sandbox has no URL before it runs: use `with Sandbox() as service:` or call start() first."
            )
        return f"{self._aisa.origin}/v1"

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
        self._aisa.origin = "http://{}:{}".format(*listener.getsockname())
        config = partial(Config, log_config=None, log_level="critical", lifespan="off", ws="none", http="h11")
        self._server = Server(config(self._serve, interface="asgi3"))
        self._aisa.draw, self._request, self._response = draw, Request, Response
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
            answer = await self._answer(arrived)
        except Answer as refusal:
            answer = refusal
        request_id, body = secrets.token_hex(16), answer.body
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).replace(REQUEST_ID, request_id).encode()
        headers = (
            {"X-Request-Id": request_id} | (build_rate_limits() if scope["path"] == CHAT else {}) | {**answer.headers}
        )
        kind = answer.kind or ("text/plain" if isinstance(answer.body, str) else "application/json")
        response = self._response(body, answer.status, headers, kind)
        if answer.sent:
            response.body = body[: int(len(body) * answer.sent)]  # less than the headers announce breaks the connection
            await response(scope, receive, send)
        for connection in self._server.server_state.connections:
            if answer.sent == 0 and getattr(connection, "scope", None) is scope:
                connection.transport.close()

    async def _answer(self, arrived: Request) -> Answer:
        """Answer a request, and record it if it has the key.

        Raises:
            Answer: The request is refused.
        """
        route, authorization = f"{arrived.method} {arrived.scope['path']}", arrived.headers.get("authorization", "")
        try:
            check_source(arrived.headers, self._aisa.origin)
            is_recorded = self._aisa.is_authorized(route, arrived.query_params, authorization)
        except Answer:
            await _discard(arrived)
            raise
        if not is_recorded:
            await _discard(arrived)
            return await self._aisa.answer(route, arrived.query_params, authorization, None)
        body = await arrived.body()
        try:
            payload = json.loads(body or "null")
        except (ValueError, RecursionError):
            payload = None
        self._record(SandboxRequest(arrived.method, arrived.scope["path"], dict(arrived.headers), payload, len(body)))
        return await self._aisa.answer(route, arrived.query_params, authorization, payload)

    def _record(self, request: SandboxRequest) -> None:
        self.requests.append(request)
        while len(self.requests) > MAX_REQUESTS or sum(each.size for each in self.requests) > MAX_REQUEST_BYTES:
            del self.requests[0]


async def _discard(arrived: Request) -> None:
    """Read a body without keeping it: an answer before its end would look like a broken connection to the client."""
    async for _ in arrived.stream():
        pass
