"""A server on this machine that answers in the formats of AIsa and of the other services, in its own process.

`python server.py` prints its port and serves until its standard input ends. The first parts of a path choose the
answer: `/m-large/...` an image of 20 MiB in base64, `/m-large4/...` four of them, `/m-wait-1.0/...` after a second,
`/m-fail-500/...`, `/m-fail-drop/...`, `/m-fail-silent/...`. `/counts` returns the POSTs since the last call of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import zlib
from collections.abc import Sequence
from typing import Any

PAYLOAD = 20 * 2**20  # bytes of base64 in a large answer
REFUSAL = b'{"error": {"code": "rate_limit_exceeded", "message": "no", "type": "api_error"}}'


def build_png(side: int = 1024, *, noise: bool = False) -> bytes:
    """Return a PNG, made without Pillow: the server runs where nothing is installed."""
    row = bytes(range(256)) * (side * 3 // 256 + 1)
    rows = [b"\x00" + (os.urandom(side * 3) if noise else row[line % 97 :][: side * 3]) for line in range(side)]
    packed = zlib.compress(b"".join(rows), 0 if noise else 1)
    chunks = [_chunk(b"IDAT", packed[offset : offset + 2**16]) for offset in range(0, len(packed), 2**16)]
    header = side.to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    return b"".join([b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), *chunks, _chunk(b"IEND", b"")])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def aisa(images: Sequence[str]) -> Any:
    """Return the answer of `POST /v1/chat/completions`."""
    contents = [{"role": "assistant", "content": [{"type": "image", "image": image}]} for image in images]
    choices = [{"index": index, "message": content} for index, content in enumerate(contents)]
    usage = {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13}
    completion = {"id": "x", "object": "chat.completion", "created": 1, "model": "wan2.7-image"}
    return {**completion, "choices": choices, "usage": usage}


def openai_images(images: Sequence[str]) -> Any:
    """Return the answer of `POST /v1/images/generations`."""
    data = [{"b64_json": url.partition(",")[2]} if url.startswith("data:") else {"url": url} for url in images]
    return {"created": 1, "data": data}


def dashscope(images: Sequence[str]) -> Any:
    """Return the answer of DashScope's multimodal generation."""
    messages = [{"role": "assistant", "content": [{"image": image, "type": "image"}]} for image in images]
    choices = [{"finish_reason": "stop", "message": message} for message in messages]
    return {"output": {"choices": choices, "finished": True}, "usage": {"image_count": 1}, "request_id": "x"}


def tanvo(images: Sequence[str]) -> Any:
    """Return the answer of `POST /api/v1/generations` of Tanvo."""
    outputs = [{"url": url, "mime": "image/png"} for url in images]
    generation = {"id": "1", "kind": "image", "model": "studio-image-v1", "prompt": "x", "status": "SUCCEEDED"}
    return {"generation": {**generation, "outputs": outputs}}


MODELS = {"models": [{"id": "studio-image-v1", "kind": "image", "name": "x", "options": {}, "defaults": {}}]}


class Answers:
    """The bodies of answers, each built when it is first needed."""

    def __init__(self, origin: str) -> None:
        self.png = build_png()
        self._url = f"{origin}/image.png?Expires=1&Signature=x"
        self._bodies: dict[tuple[Any, str], bytes] = {}

    def body(self, shape: Any, mode: str) -> bytes:
        """Return the body of a shape in a mode."""
        if (shape, mode) not in self._bodies:
            images = [self._url] * (4 if mode.endswith("4") else 1)
            if mode.startswith(("large", "small")):
                png = self.png if mode == "small" else build_png(int((PAYLOAD / 4) ** 0.5), noise=True)
                images = [f"data:image/png;base64,{base64.b64encode(png).decode()}"] * len(images)
            self._bodies[shape, mode] = json.dumps(shape(images)).encode()
        return self._bodies[shape, mode]


class Protocol(asyncio.Protocol):
    """Serves the requests of one connection in order."""

    def __init__(self, answers: Answers, counts: dict[str, int]) -> None:
        self._answers, self._counts, self._data = answers, counts, bytearray()

    def connection_made(self, transport: Any) -> None:
        """Store the connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request as soon as it is complete."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            first, *headers = self._data[:end].decode("latin-1").split("\r\n")
            named = dict(line.lower().split(": ", 1) for line in headers)
            length = end + 4 + int(named.get("content-length", 0))
            if len(self._data) < length:
                return
            del self._data[:length]
            method, target, _ = first.split(" ")
            self._answer(method, target.partition("?")[0].strip("/").split("/"))

    def _answer(self, method: str, parts: list[str]) -> None:
        if parts == ["counts"]:
            self._send(json.dumps(self._counts).encode())
            self._counts.clear()
            return
        options = [part[2:] for part in parts if part.startswith("m-")]
        path = "/".join(part for part in parts if not part.startswith("m-"))
        wait = next((float(option[5:]) for option in options if option.startswith("wait-")), 0.0)
        modes = [option for option in options if not option.startswith("wait-")]
        if method == "POST":
            self._counts["POST"] = self._counts.get("POST", 0) + 1
        asyncio.get_running_loop().call_later(wait, self._route, method, path, modes[0] if modes else "url")

    def _route(self, method: str, path: str, mode: str) -> None:
        if method == "GET" and path.endswith("models"):
            self._send(json.dumps(MODELS).encode())
        elif method == "GET" and "generations/" in path:
            self._send(self._answers.body(tanvo, "url"))
        elif method == "GET":
            self._send(self._answers.png, "image/png")
        elif mode == "fail-drop":
            self._transport.abort()
        elif mode.startswith("fail-") and mode != "fail-silent":
            self._send(REFUSAL, status=int(mode[5:]))
        elif mode != "fail-silent":
            shapes = {"images/generations": openai_images, "chat/completions": aisa, "generation": dashscope}
            shape = next((builder for end, builder in shapes.items() if path.endswith(end)), tanvo)
            self._send(self._answers.body(shape, mode))

    def _send(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        if not self._transport.is_closing():
            self._transport.write(head.encode() + body)


async def main() -> None:
    """Serve until the parent process ends."""
    loop, counts = asyncio.get_running_loop(), {}
    answers: list[Answers] = []  # filled when the port is known
    server = await loop.create_server(lambda: Protocol(answers[0], counts), "127.0.0.1", 0, backlog=2048)
    port = server.sockets[0].getsockname()[1]
    answers.append(Answers(f"http://127.0.0.1:{port}"))
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
