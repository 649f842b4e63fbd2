"""Downloads that never end, or that claim to be larger than a process can decode."""

from __future__ import annotations

import threading
from typing import Any

from langchain_wan import WanClient, WanStore, errors
from tests.support.fault_server import KEY, Behaviour, FaultServer, reply, result_at
from tests.support.images import png, png_that_claims


def endless(connection: Any, request: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + png()[:100])
    for _ in range(10_000):
        connection.sendall(b"\x00" * 2**16)


def a_byte_a_second(connection: Any, request: Any) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for byte in png() * 10:
        connection.sendall(bytes([byte]))
        if threading.Event().wait(0.2):
            return


MEGAPIXELS = {"81 megapixels": 9_000, "52 megapixels": 7_211, "49 megapixels": 7_000}  # pixels a side


def hostile_download(kind: str) -> Behaviour:
    if kind in MEGAPIXELS:
        return reply(200, png_that_claims(MEGAPIXELS[kind], MEGAPIXELS[kind], rows=True))
    match kind:
        case "endless":
            return endless
        case "a byte a second":
            return a_byte_a_second
        case "65000 x 65000":
            return reply(200, png_that_claims(65000, 65000))
        case _:
            return reply(200, png())


def hostile_call(kind: str) -> str:
    """Make an image whose download is hostile, in a process whose memory is looked at."""
    with FaultServer(result_at("/a.png"), files={"/a.png": hostile_download(kind)}) as server:
        client = WanClient(base_url=server.url, api_key=KEY, store=WanStore(), download_timeout=3)
        try:
            result = client.generate("a fox")
        except errors.PaidButNotRetrievedError:
            return "refused"
        result.images[0].thumbnail()
        return "made"
