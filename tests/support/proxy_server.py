"""An HTTP proxy on this machine that connects every name to one server, and records what it was asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.support.fault_server import Behaviour, Received, read_request, reply


class ProxyServer:
    """Takes `CONNECT`, and hands the bytes to and fro.

    Args:
        target: The port on this machine that every name leads to.
        authorization: The `Proxy-Authorization` that it asks for.
        behave: What it does instead of connecting.
        wrap: Lets it speak TLS to its clients.
    """

    def __init__(
        self,
        target: int,
        *,
        authorization: str | None = None,
        behave: Behaviour | None = None,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        self._target, self._authorization, self._behave, self._wrap = target, authorization, behave, wrap
        self.requests: list[Received] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def url(self, user: str = "") -> str:
        """The setting `proxy`."""
        return f"{'https' if self._wrap else 'http'}://{f'{user}@' if user else ''}127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            client = connection if self._wrap is None else self._wrap(connection)
            with client:
                request = read_request(client)
                self.requests.append(request)
                if self._behave is not None:
                    self._behave(client, request)
                elif request.headers.get("proxy-authorization") != self._authorization:
                    reply(407)(client, request)
                else:
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            there = threading.Thread(target=_copy, args=(client, server), daemon=True)
            there.start()
            _copy(server, client)
            there.join(5)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
