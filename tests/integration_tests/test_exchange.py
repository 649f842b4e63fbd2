"""What goes over the wire, byte by byte: where the key goes, redirects, encodings, caps, deadlines."""

from __future__ import annotations

import gzip
import logging
import time
import zlib
from collections.abc import Callable

import pytest

from langchain_wan import ImageResult, WanClient, WanStore, errors
from tests.support.fault_server import KEY, FaultServer, answer, drip, drop, reply, silence
from tests.support.images import data_uri, png
from tests.support.services import build_client

Generate = Callable[..., ImageResult]


def test_each_request_has_its_own_connection(generate: Generate) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        client = build_client(server)
        for _ in range(3):
            generate(client, "a fox")
        assert server.connections == len(server.posts) == 3


def test_a_redirect_of_the_paid_request_is_not_followed(generate: Generate) -> None:
    with FaultServer(drop) as other, FaultServer(reply(307, headers=[("Location", other.url)])) as server:
        with pytest.raises(errors.PaymentUncertainError) as caught:
            generate(build_client(server), "a fox")
        assert caught.value.status_code == 307
        assert other.requests == []


def test_a_download_follows_three_redirects_without_the_key(generate: Generate) -> None:
    hops = {f"/{number}": reply(302, headers=[("Location", f"/{number + 1}")]) for number in range(3)}
    with FaultServer(files={**hops, "/3": reply(200, png())}) as server:
        server._script = [reply(200, answer(f"{server.origin}/0"))]
        assert generate(build_client(server), "a fox").images[0].read() == png()
        assert all("authorization" not in request.headers for request in server.requests if request.method == "GET")
        assert "authorization" in server.posts[0].headers


def test_a_download_fails_after_three_redirects(generate: Generate) -> None:
    with FaultServer(files={"/0": reply(302, headers=[("Location", "/0")])}) as server:
        server._script = [reply(200, answer(f"{server.origin}/0"))]
        with pytest.raises(errors.PaidButNotRetrievedError, match="redirects too often"):
            generate(build_client(server), "a fox")
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:{other}/x.png", "http://169.254.169.254/x", "http://localhost/x.png", "file:///etc/passwd"],
)
def test_a_result_url_reaches_no_other_internal_host(target: str, generate: Generate) -> None:
    with FaultServer(files={"/x.png": reply(200, png())}) as other, FaultServer() as server:
        internal = target.format(other=other.port)
        server._files = {"/0": [reply(302, headers=[("Location", internal)])]}
        for url in (internal, f"{server.origin}/0"):
            server._script = [reply(200, answer(url))]
            with pytest.raises((errors.PaidButNotRetrievedError, errors.UnreadableAnswerError)):
                generate(build_client(server), "a fox")
        assert other.requests == []


def test_gzip_is_decoded_under_the_cap(generate: Generate) -> None:
    body = gzip.compress(answer(data_uri()))
    with FaultServer(reply(200, body, [("Content-Encoding", "gzip")])) as server:
        assert generate(build_client(server), "a fox").images


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"\x1f\x8bnonsense", "gzip"), (gzip.compress(b"{}" * 99)[:-9], "gzip"), (zlib.compress(b"{}"), "br")],
    ids=["broken", "cut", "unknown"],
)
def test_an_answer_that_cannot_be_decoded_may_have_been_charged(body: bytes, encoding: str, generate: Generate) -> None:
    with FaultServer(reply(200, body, [("Content-Encoding", encoding)])) as server:
        with pytest.raises(errors.UnreadableAnswerError):
            generate(build_client(server), "a fox")
        assert len(server.posts) == 1


def test_the_deadline_holds_for_the_whole_answer_not_for_each_byte(generate: Generate) -> None:
    with FaultServer(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b" " * 9999, 0.05)) as server:
        began = time.monotonic()
        with pytest.raises(errors.PaymentUncertainError):
            generate(build_client(server, timeout=0.6), "a fox")
        assert time.monotonic() - began < 5  # the server would take minutes


def test_downloads_have_a_deadline_of_their_own(generate: Generate) -> None:
    with FaultServer(files={"/a.png": silence(), "/b.png": reply(200, png())}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png", f"{server.origin}/b.png"))]
        result = generate(build_client(server, download_timeout=0.4), "a fox")
        assert len(result.images) == 1
        assert result.failures[0].retryable


def test_logs_contain_neither_the_key_nor_a_signature(caplog: pytest.LogCaptureFixture, generate: Generate) -> None:
    with FaultServer(files={"/a.png": reply(200, png())}) as server, caplog.at_level(logging.DEBUG):
        server._script = [reply(200, answer(f"{server.origin}/a.png?Signature=canary"))]
        generate(build_client(server), "a fox")
    assert KEY not in caplog.text
    assert "canary" not in caplog.text


def test_a_placeholder_key_is_not_cut_out_of_an_image(generate: Generate) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        assert (
            generate(WanClient(base_url=server.url, api_key="A", store=WanStore()), "a fox").images[0].read() == png()
        )
