"""Large answers: little is read of a refusal, an event loop stays free, and nothing grows with the calls."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import os
import socket
import threading
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from langchain_wan import RetryPolicy, WanClient, WanStore, errors
from langchain_wan._net import decoding, key_removal
from langchain_wan._services import aisa_chat, foreign_text
from tests.support.certificates import tls
from tests.support.fault_server import KEY, Behaviour, FaultServer, Received, answer, drop, reply
from tests.support.images import data_uri
from tests.support.paid_call import Case
from tests.support.services import Generate

MIB = 2**20
REFUSAL = b'{"error":{"code":"invalid_parameter_error","message":"no","more":"'


def endless(status: int, start: bytes, sent: list[int]) -> Behaviour:
    """Answer with a body of a GiB, and count what the other side takes."""

    def behave(connection: socket.socket, request: Received) -> None:
        connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {2**30}\r\n\r\n".encode() + start)
        with contextlib.suppress(OSError):
            for _ in range(2**14):
                connection.sendall(b"x" * 2**16)
                sent.append(2**16)

    return behave


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((400, errors.StatusError), (401, errors.AuthenticationError), (404, errors.StatusError)),
        *(
            (500, errors.PaymentUncertainError),
            (502, errors.PaymentUncertainError),
            (302, errors.PaymentUncertainError),
        ),
    ],
)
def test_a_mib_is_read_of_an_answer_that_is_not_a_success(status: int, kind: type[errors.WanError], case: Case) -> None:
    sent: list[int] = []
    with FaultServer(endless(status, REFUSAL, sent)) as server:
        error = case.fails(server.url, kind)
    assert sum(sent) < 16 * MIB  # what sockets buffer, too
    (case.is_refused if error.charged == "no" else case.is_uncertain)(error)


def test_a_mib_is_read_of_a_failed_download_and_of_a_balance(case: Case, asynchronous: bool) -> None:
    sent: list[int] = []

    def result(connection: socket.socket, request: Received) -> None:
        reply(200, answer(f"http://{request.headers['host']}/a.png"))(connection, request)

    files = {"/a.png": endless(404, b"", sent), "/v1/credits/balance": endless(200, b"", sent)}
    with FaultServer(result, files=files) as server:
        case.fails(server.url, errors.PaidButNotRetrievedError)
        client = case.client(server.url)
        with pytest.raises(errors.NotSentError, match="larger than 1 MiB"):
            asyncio.run(client.abalance()) if asynchronous else client.balance()
    assert sum(sent) < 32 * MIB


@pytest.mark.parametrize("size", [10, 200 * MIB])
def test_a_packed_refusal_is_a_refusal_however_large_it_unpacks(size: int, case: Case) -> None:
    packed = gzip.compress(REFUSAL + b"x" * size + b'"}}')
    with FaultServer(reply(400, packed, [("Content-Encoding", "gzip")])) as server:
        error = case.fails(server.url, errors.StatusError)
    case.is_refused(error)


def test_a_packed_refusal_that_is_cut_off_at_the_limit_is_a_refusal(case: Case) -> None:
    packed = gzip.compress(REFUSAL + base64.b64encode(Random(0).randbytes(3 * MIB)) + b'"}}', 1)
    assert len(packed) > 2 * MIB
    with FaultServer(reply(400, packed, [("Content-Encoding", "gzip")])) as server:
        error = case.fails(server.url, errors.StatusError)
    case.is_refused(error)


def test_unpacking_reads_each_byte_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    build = zlib.decompressobj

    class Counting:
        def __init__(self, **options: Any) -> None:
            self._decoder = build(**options)

        def decompress(self, data: bytes, longest: int) -> bytes:
            given.append(len(data))
            return self._decoder.decompress(data, longest)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._decoder, name)

    body = Random(0).randbytes(8 * MIB)
    packed = gzip.compress(body, 1)
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    assert decoding.unpack_gzip(packed, 16 * MIB) == body
    assert sum(given) < 3 * len(packed)  # twice: its size is measured first


@pytest.mark.parametrize("rest", [0, 1, 100])
@pytest.mark.parametrize("size", [0, 1, 2**16, MIB - 1, MIB, MIB + 1, 5 * MIB])
def test_gzip_of_any_size_is_unpacked_whole(size: int, rest: int) -> None:
    body = bytes(size)
    assert decoding.unpack_gzip(gzip.compress(body) + b"x" * rest, 8 * MIB) == body
    with pytest.raises(decoding.UnpackError):
        decoding.unpack_gzip(gzip.compress(body)[:-9], 8 * MIB)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The names of the threads in which answers are unpacked, searched, parsed and cleaned."""
    seen: dict[str, set[str]] = {}

    def watch(module: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(module, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            seen.setdefault(name, set()).add(threading.current_thread().name)
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, called)

    watch(decoding, "_unpack")
    watch(key_removal.KeyRemoval, "remove")
    watch(aisa_chat, "read_values")
    watch(foreign_text, "remove_control")
    return seen


def big_answer() -> bytes:
    content = [{"image": data_uri()}, {"text": "x" * 2**17}]
    return json.dumps({"choices": [{"message": {"content": content}}], "usage": {"a": "b" * 2**17}}).encode()


LARGE: dict[str, tuple[Behaviour, type[errors.WanError] | None]] = {
    "an answer": (reply(200, big_answer()), None),
    "a packed answer": (reply(200, gzip.compress(big_answer()), [("Content-Encoding", "gzip")]), None),
    "a refusal": (reply(400, REFUSAL + b"?" * 2**19 + b'"}}'), errors.StatusError),
    "a failure": (reply(502, b"<html>" + b"?" * 2**19), errors.PaymentUncertainError),
    "no image": (reply(200, b'{"choices":[],"x":"' + b"?" * 2**19 + b'"}'), errors.UnreadableAnswerError),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_answer_is_read_off_the_event_loop(kind: str, threads: dict[str, set[str]]) -> None:
    behaviour, error = LARGE[kind]
    with FaultServer(behaviour) as server:
        client = WanClient(base_url=server.url, api_key=KEY, store=WanStore())
        if error is None:
            assert asyncio.run(client.agenerate("a fox")).images
        else:
            with pytest.raises(error):
                asyncio.run(client.agenerate("a fox"))
    bodies = {name: found for name, found in threads.items() if name != "remove"}
    assert "read_values" in bodies
    assert all(name.startswith("langchain-wan") for found in bodies.values() for name in found)


def test_a_balance_is_read_off_the_event_loop(threads: dict[str, set[str]]) -> None:
    body = json.dumps({"available_balance_micros_usd": 5_000_000, "more": "x" * 2**19}).encode()
    with FaultServer(files={"/v1/credits/balance": reply(200, body)}) as server:
        client = WanClient(base_url=server.url, api_key=KEY, store=WanStore())
        assert asyncio.run(client.abalance()) == Decimal(5)
    assert "MainThread" not in threads.get("remove", set())


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  the iterator of a Path would count itself


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list descriptors")
@pytest.mark.parametrize("way", ["images", "refused", "dropped", "no TLS", "no name"])
def test_descriptors_and_threads_do_not_grow_with_clients(
    way: str, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    if way == "no name":
        monkeypatch.setattr(socket, "getaddrinfo", fail)
    script = {"images": reply(200, answer(data_uri())), "dropped": drop}.get(way, reply(401, b"{}"))

    async def call(url: str) -> None:
        client = WanClient(base_url=url, api_key=KEY, store=WanStore(), retry=RetryPolicy(attempts=1), timeout=5)
        with contextlib.suppress(errors.WanError):
            await client.agenerate("a fox") if asynchronous else await asyncio.to_thread(client.generate, "a fox")

    async def call_often() -> tuple[list[int], list[int]]:
        descriptors, running = [], []
        for number in range(24):
            await call(url)
            if number in (3, 23):
                await asyncio.sleep(0.1)  # the server closes its side, too
                descriptors.append(count_descriptors())
                running.append(threading.active_count())
        return descriptors, running

    with FaultServer(script, wrap=tls("127.0.0.1") if way == "no TLS" else None) as server:
        url = (
            server.url.replace("127.0.0.1", "nowhere.invalid").replace("http:", "https:")
            if way == "no name"
            else server.url
        )
        descriptors, running = asyncio.run(call_often())
    assert descriptors[1] <= descriptors[0] + 2
    assert running[1] <= running[0] + decoding.MAX_PACKINGS + 4  # threads of pools that were not all started yet


HOSTILE = ("[", '{"a":', "[]", "data: x\n", "data: {}\n\n", '"', "\\", '{"error":', "<!--", "?=", "\x1b]")


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("status", [200, 500])
def test_hostile_text_of_60_kb_is_read(part: str, status: int, generate: Generate) -> None:
    text = part * (60_000 // len(part))  # if each character cost a look at all others, this would take minutes
    with FaultServer(reply(status, text.encode())) as server, pytest.raises(errors.PaymentUncertainError):
        generate(WanClient(base_url=server.url, api_key=KEY, store=WanStore()), "a fox")


@pytest.mark.parametrize("packing", ["UTF-16", "UTF-32", "gzip without a header", "gzip of UTF-16"])
def test_a_key_in_an_answer_of_another_encoding_is_kept_nowhere(
    packing: str, generate: Generate, tmp_path: Path
) -> None:
    text = json.dumps({"choices": [{"message": {"content": [{"image": data_uri()}, {"text": f"the key {KEY}"}]}}]})
    body = text.encode("utf-16-le" if "16" in packing else "utf-32-be" if "32" in packing else "utf-8")
    body = gzip.compress(body) if "gzip" in packing else body
    store = WanStore(tmp_path)
    with FaultServer(reply(200, body)) as server:
        result = generate(WanClient(base_url=server.url, api_key=KEY, store=store), "a fox")
    assert result.images
    assert result.notes == ["the key [key]"]
    assert KEY not in result.model_dump_json()
