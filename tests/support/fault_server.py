"""A server on raw sockets that can do everything a network and a gateway can do wrong, and counts what arrives."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from tests.support.images import data_uri

KEY = "sk-canary-7d41c09e5b2f"  # looked for afterwards in everything that a call leaves behind


@dataclass(frozen=True)
class Received:
    """One request as it came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[socket.socket, Received], None]


class FaultServer:
    """Answers each POST with the next behaviour of its script (the last one again), each GET by its path."""

    started: ClassVar[list[FaultServer]] = []

    def __init__(
        self,
        *script: Behaviour,
        files: Mapping[str, Behaviour | list[Behaviour]] | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
        before_reading: Callable[[socket.socket], bool] | None = None,
    ) -> None:
        self._script = list(script) or [reply(200, answer(data_uri()))]
        self._files = {path: found if isinstance(found, list) else [found] for path, found in (files or {}).items()}
        self._wrap = wrap
        self._before_reading = before_reading
        self._closing = threading.Event()
        self.requests: list[Received] = []
        self.connections = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        self.started.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    @property
    def origin(self) -> str:
        return f"{'https' if self._wrap else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The `base_url`."""
        return f"{self.origin}/v1"

    @property
    def api_key(self) -> str:
        return KEY

    @property
    def posts(self) -> list[Received]:
        return [request for request in self.requests if request.method == "POST"]

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._before_reading is not None and self._before_reading(connection):
                return
            if self._wrap is not None:
                connection = self._wrap(connection)
            request = read_request(connection)
            with self._lock:
                self.requests.append(request)
                behaviours = self._script if request.method == "POST" else self._files[request.path.partition("?")[0]]
                behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
            behaviour(connection, request)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def read_request(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise OSError("closed")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        chunk = connection.recv(1 << 20)
        if not chunk:
            raise OSError("closed")
        body += chunk
    method, path, _ = first.split(" ")
    return Received(method, path, headers, body)


def answer(*images: Any) -> bytes:
    """The body of a generation with these images."""
    choices = [{"index": None, "message": {"content": [{"type": "image", "image": image}]}} for image in images]
    return json.dumps({"choices": choices, "model": "wan2.7-image"}).encode()


def refusal(code: str | None, message: str = "no") -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "type": "api_error"}}).encode()


def reply(
    status: int,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    length: int | str | None = "right",
    after: float = 0,
    when: threading.Event | None = None,
) -> Behaviour:
    """Answer whole, `after` some seconds or `when` a test says so.

    `length` may be wrong on purpose, or None to leave it out.
    """

    def behave(connection: socket.socket, request: Received) -> None:
        time.sleep(after)
        if when is not None:
            when.wait(30)
        shown = len(body) if length == "right" else length
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers)]
        if shown is not None:
            lines.append(f"Content-Length: {shown}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    return behave


def result_at(path: str) -> Behaviour:
    """Answer with the URL of one image on this server."""

    def behave(connection: socket.socket, request: Received) -> None:
        reply(200, answer(f"http://{request.headers['host']}{path}"))(connection, request)

    return behave


def raw(data: bytes) -> Behaviour:
    """Send these bytes as they are."""
    return lambda connection, request: connection.sendall(data)


def drop(connection: socket.socket, request: Received) -> None:
    """Close without an answer."""


def reset(connection: socket.socket, request: Received | None = None) -> None:
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silence(seconds: float = 30) -> Behaviour:
    """Say nothing, until the other side goes away."""

    def behave(connection: socket.socket, request: Received) -> None:
        connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            connection.recv(1)

    return behave


def drip(data: bytes, interval: float = 0.1) -> Behaviour:
    """Send a byte at a time."""

    def behave(connection: socket.socket, request: Received) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(interval)

    return behave
