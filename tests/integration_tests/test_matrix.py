"""Faults of a paid call: how often it was sent, what the error says, what the budget and the store hold afterwards.

The numbers are the rows of the project's fault matrix.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
import time
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import (
    Budget,
    ImageRequest,
    RetryPolicy,
    WanStore,
    errors,
)
from tests.support.certificates import tls, trust_authority
from tests.support.fault_server import (
    KEY,
    Behaviour,
    FaultServer,
    answer,
    drip,
    drop,
    raw,
    refusal,
    reply,
    reset,
    silence,
)
from tests.support.images import data_uri, png
from tests.support.paid_call import PRICE, ZERO, Case

GOOD = reply(200, answer(data_uri()))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_1_a_refused_connection_is_retried_and_then_reported_as_not_sent(case: Case) -> None:
    error = case.fails(f"http://127.0.0.1:{free_port()}/v1", errors.NotSentError)
    assert error.is_retryable
    case.is_refused(error)


def test_2_a_name_that_does_not_resolve_is_not_sent(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    case.is_refused(case.fails("https://api.nowhere.example/v1", errors.NotSentError))


def test_2_a_resolver_that_hangs_is_abandoned_at_the_deadline(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: going_on.wait(30))
    began = time.monotonic()
    error = case.fails(
        "https://api.nowhere.example/v1", errors.NotSentError, timeout=0.3, retry=RetryPolicy(attempts=1)
    )
    assert time.monotonic() - began < 10
    going_on.set()
    case.is_refused(error)


@pytest.mark.parametrize(
    ("name", "trusted", "kwargs"),
    [
        ("127.0.0.1", False, {}),
        ("elsewhere.example", True, {}),
        (
            "127.0.0.1",
            True,
            {"not_after": datetime(2001, 1, 1, tzinfo=UTC), "not_before": datetime(2000, 1, 1, tzinfo=UTC)},
        ),
    ],
    ids=["untrusted", "wrong host", "expired"],
)
def test_3_after_a_certificate_that_is_not_accepted_there_is_no_retry(
    name: str, trusted: bool, kwargs: Any, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trusted:
        trust_authority(tmp_path, monkeypatch)
    with FaultServer(GOOD, wrap=tls(name, **kwargs)) as server:
        error = case.fails(server.url, errors.NotSentError)
        assert "certificate" in str(error)
        assert server.connections == 1
        assert server.posts == []
    case.is_refused(error)


def test_3_a_trusted_certificate_is_accepted(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust_authority(tmp_path, monkeypatch)
    with FaultServer(GOOD, wrap=tls("127.0.0.1")) as server:
        assert case.generate(case.client(server.url), "a fox").images
    case.is_paid()


def test_4_a_handshake_that_stalls_or_is_not_tls_is_not_sent(case: Case) -> None:
    def stall(connection: socket.socket) -> bool:
        time.sleep(1)
        return True

    with FaultServer(GOOD, before_reading=stall) as server:
        url = server.url.replace("http://", "https://")
        case.is_refused(case.fails(url, errors.NotSentError, timeout=0.3, retry=RetryPolicy(attempts=1)))

    def speak_plainly(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return True

    with FaultServer(GOOD, before_reading=speak_plainly) as server:
        case.fails(server.url.replace("http://", "https://"), errors.NotSentError, retry=RetryPolicy(attempts=1))
        assert server.posts == []


@pytest.mark.parametrize("status", [407, 502])
def test_5_a_proxy_that_refuses_is_not_sent_and_its_password_not_shown(status: int, case: Case) -> None:
    with FaultServer() as proxy:
        proxy._files = {"api.aisa.one:443": [reply(status)]}
        url = proxy.origin.replace("http://", "http://user:canary@")
        error = case.fails("https://api.aisa.one/v1", errors.NotSentError, proxy=url)
        assert "canary" not in str(error)
        assert {request.method for request in proxy.requests} == {"CONNECT"}
        assert all(KEY not in str(request.headers) for request in proxy.requests)
    case.is_refused(error)


def test_6_a_reset_before_the_request_is_read_is_uncertain(case: Case) -> None:
    def refuse(connection: socket.socket) -> bool:
        connection.recv(1)
        reset(connection)
        return True

    with FaultServer(before_reading=refuse) as server:
        case.is_uncertain(case.fails(server.url, errors.PaymentUncertainError))
        assert server.connections == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        drop,
        reset,
        silence(),
        drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 999),
        drip(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 999),
    ],
    ids=["7 FIN", "7 RST", "8 silence", "9 slow headers", "9 slow body"],
)
def test_7_to_9_no_answer_in_time_is_uncertain_and_sent_once(behaviour: Behaviour, case: Case) -> None:
    with FaultServer(behaviour) as server:
        began = time.monotonic()
        with pytest.raises(errors.PaymentUncertainError) as caught:
            case.generate(case.client(server.url, timeout=0.7), "a fox")
        assert time.monotonic() - began < 6
        assert len(server.posts) == 1
    case.is_uncertain(caught.value)


BODY = answer(data_uri())


@pytest.mark.parametrize(
    "behaviour",
    [
        reply(200, BODY[:-50], length=len(BODY)),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
        reply(200, BODY, length=len(BODY) // 2),
        reply(200, b"\x1f\x8b broken", [("Content-Encoding", "gzip")]),
        reply(200, b"\x8b\x02\x80packed\x03", [("Content-Encoding", "br")]),
        *(
            reply(200, body)
            for body in (b'{"choices": []}', b'{"choices": null}', b"[]", b'"x"', b"no json", b"", b"null")
        ),
        reply(200, b'{"error": {"message": "something new"}}'),
        reply(200, b'{"error": "something new"}'),
        reply(200, b'{"code": 17, "message": "something new"}'),
    ],
)
def test_10_to_12_28_29_an_answer_that_cannot_be_read_is_kept_raw_and_not_requested_again(
    behaviour: Behaviour, case: Case, tmp_path: Path
) -> None:
    with FaultServer(behaviour) as server:
        case.is_uncertain(case.fails(server.url, errors.UnreadableAnswerError))
        assert len(server.posts) == 1
    assert len(list((tmp_path / "store" / "raw").iterdir())) == 1


@cache
def gzip_bomb(mebibytes: int) -> bytes:
    """So many MiB of zeros, of which one is compressed and then repeated: after a full flush that is valid."""
    zeros, checksum = bytes(2**20), 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return header + block * mebibytes + packer.flush() + struct.pack("<II", checksum, mebibytes * 2**20)


def test_a_gzip_bomb_of_the_tests_is_valid() -> None:
    assert gzip.decompress(gzip_bomb(3)) == bytes(3 * 2**20)


def test_12_a_gzip_bomb_is_refused_without_unpacking_it(case: Case) -> None:
    import resource

    bomb = gzip_bomb(1024)
    with FaultServer(reply(200, bomb, [("Content-Encoding", "gzip")])) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        case.is_uncertain(case.fails(server.url, errors.UnreadableAnswerError, timeout=60))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10  # KiB
        assert len(server.posts) == 1


def test_13_an_answer_without_end_is_cut_at_the_cap(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_wan._net import send

    monkeypatch.setattr(send, "ANSWER_CAP", 2**20)

    def endless(connection: socket.socket, request: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(bytes(2**20))

    with FaultServer(endless) as server:
        error = case.fails(server.url, errors.UnreadableAnswerError)
        assert "larger than 1 MiB" in str(error)
        case.is_uncertain(error)
        assert len(server.posts) == 1


def test_10_an_answer_with_two_lengths_is_uncertain(case: Case) -> None:
    with FaultServer(reply(200, BODY, [("Content-Length", "3")])) as server:
        case.is_uncertain(case.fails(server.url, errors.PaymentUncertainError))
        assert len(server.posts) == 1


def test_14_fifty_calls_to_a_server_that_closes_after_each_succeed(case: Case) -> None:
    with FaultServer(GOOD) as server:
        client = case.client(server.url, budget=None)
        for number in range(50):
            assert case.generate(client, f"fox {number}").images
        assert len(server.posts) == 50


@pytest.mark.parametrize("status", [301, 302, 307, 308, 408, 409, 425, 499, 500, 502, 503, 504, 520, 524])
def test_15_to_18_27_an_ambiguous_status_is_uncertain_and_sent_once(status: int, case: Case) -> None:
    headers = [("Location", "http://127.0.0.1:9/"), ("Retry-After", "1"), ("Content-Type", "text/html")]
    with FaultServer(reply(status, b"<html><body>Bad gateway at 10.0.0.7</body></html>", headers)) as server:
        error = case.fails(server.url, errors.PaymentUncertainError)
        assert len(server.posts) == 1
    assert "<" not in str(error)
    assert "10.0.0.7" not in str(error)
    case.is_uncertain(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, refusal("model_not_found"), errors.ModelUnavailableError),
        (400, refusal("invalid_parameter_error"), errors.StatusError),
        (400, refusal(None, "<400> InternalError.Algo.DataInspectionFailed: Input"), errors.ContentPolicyError),
        (500, refusal(None, "<400> InternalError.Algo.DataInspectionFailed: Input"), errors.ContentPolicyError),
        (404, refusal("openai_error"), errors.StatusError),
        (413, b"<html>too large</html>", errors.StatusError),
        (422, refusal("content_policy_violation"), errors.ContentPolicyError),
        (401, refusal("invalid_api_key", f"the key {KEY} is wrong"), errors.AuthenticationError),
        (403, refusal("insufficient_permissions"), errors.AuthenticationError),
        (402, b'{"code": "insufficient_credits", "message": "no"}', errors.InsufficientCreditError),
        (403, refusal("Arrearage"), errors.InsufficientCreditError),
        (429, refusal("quota_exceeded"), errors.InsufficientCreditError),
        (200, refusal("content_policy_violation"), errors.ContentPolicyError),
    ],
)
def test_19_to_22_a_refusal_charges_nothing_and_is_not_repeated(
    status: int, body: bytes, kind: type[errors.WanError], case: Case
) -> None:
    with FaultServer(reply(status, body)) as server:
        error = case.fails(server.url, kind)
        assert len(server.posts) == 1
    case.is_refused(error)


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ([("Retry-After", "1")], 1.0),
        ([("Date", http_date(-86400)), ("Retry-After", http_date(-86399))], 1.0),
        ([("Retry-After", http_date(-100))], 0.0),
        ([("Retry-After", "nan")], 0.0),
        ([("Retry-After", "")], 0.0),
        ([], 0.0),
    ],
    ids=["23 seconds", "24 skewed clock", "24 past", "25 nan", "25 empty", "none"],
)
def test_23_to_25_a_429_is_retried_when_the_service_asks_for_it(
    headers: list[tuple[str, str]], least: float, case: Case
) -> None:
    with FaultServer(reply(429, refusal("rate_limit_exceeded"), headers), GOOD) as server:
        began = time.monotonic()
        assert case.generate(case.client(server.url), "a fox").images
        assert time.monotonic() - began >= least
        assert len(server.posts) == 2
        assert server.posts[0].headers["idempotency-key"] == server.posts[1].headers["idempotency-key"]
        assert server.posts[0].body == server.posts[1].body
    case.is_paid()


@pytest.mark.parametrize("value", ["9999", "1e999", "9" * 400])
def test_25_a_wait_beyond_the_cap_is_raised_at_once(value: str, case: Case) -> None:
    with FaultServer(reply(429, refusal("rate_limit_exceeded"), [("Retry-After", value)])) as server:
        error = case.fails(server.url, errors.RateLimitError)
        assert isinstance(error, errors.RateLimitError)
        assert error.retry_after is not None
        assert error.retry_after > 60
        assert len(server.posts) == 1
    case.is_refused(error)


def test_26_an_endless_429_ends_after_three_attempts(case: Case) -> None:
    with FaultServer(reply(429, refusal("upstream_rate_limit"))) as server:
        case.is_refused(case.fails(server.url, errors.RateLimitError))
        assert len(server.posts) == 3


def test_30_other_forms_of_an_image_are_read(case: Case) -> None:
    uri = data_uri("blue")
    content = [
        {"type": "text", "text": "Here you are."},
        {"type": "image_url", "image_url": {"url": uri}},
        {"b64_json": "", "url": data_uri("green")},
    ]
    body = b'{"choices":[{"message":{"content":' + __import__("json").dumps(content).encode() + b"}}]}"
    with FaultServer(reply(200, body)) as server:
        result = case.generate(case.client(server.url), ImageRequest(prompt="a fox", n=2))
    assert [image.read() for image in result.images] == [png("blue"), png("green")]
    assert result.notes == ["Here you are."]
    case.is_paid(2 * PRICE)


def test_31_32_the_images_of_the_answer_are_settled_whatever_n_was(case: Case) -> None:
    with FaultServer(reply(200, answer(data_uri("red"), data_uri("blue"), "", data_uri("green")))) as server:
        result = case.generate(case.client(server.url), ImageRequest(prompt="a fox", n=4))
    assert len(result.images) == 3
    assert [failure.index for failure in result.failures] == [2]
    case.is_paid(4 * PRICE)


def test_33_urls_and_base64_in_one_answer_keep_their_order(case: Case) -> None:
    with FaultServer(files={"/a.png": reply(200, png("blue"))}) as server:
        server._script = [reply(200, answer(data_uri("red"), f"{server.origin}/a.png", data_uri("green")))]
        result = case.generate(case.client(server.url), ImageRequest(prompt="a fox", n=3))
    assert [image.read() for image in result.images] == [png("red"), png("blue"), png("green")]
    case.is_paid(3 * PRICE)


def test_34_an_image_that_cannot_be_read_does_not_lose_the_others(case: Case) -> None:
    wrong_label = data_uri("blue").replace("image/png", "image/jpeg")
    with FaultServer(reply(200, answer("!!!", "PGh0bWw+", wrong_label))) as server:
        result = case.generate(case.client(server.url), ImageRequest(prompt="a fox", n=3))
    assert [image.mime_type for image in result.images] == ["image/png"]
    assert [failure.retryable for failure in result.failures] == [False, False]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_35_an_expired_url_is_requested_once_and_the_cost_is_settled(status: int, case: Case) -> None:
    with FaultServer(files={"/a.png": reply(status, b"<Error>expired</Error>")}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        error = case.fails(server.url, errors.PaidButNotRetrievedError)
        assert len(server.posts) == 1
        assert len(server.requests) == 2
    assert error.charged == "yes"
    assert case.money() == (PRICE, ZERO)
    assert case.states() == ["partial"]


@pytest.mark.parametrize(
    "first",
    [reply(500), reply(200, png()[:-20], length=len(png())), reply(200, png()[:-20]), drop],
    ids=["36 status 500", "37 cut", "37 wrong length", "closed"],
)
def test_36_37_a_download_is_retried(first: Behaviour, case: Case) -> None:
    with FaultServer(files={"/a.png": [first, first, reply(200, png())]}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        assert case.generate(case.client(server.url), "a fox").images[0].read() == png()
        assert len(server.posts) == 1
    case.is_paid()


def test_42_45_what_is_missing_is_fetched_later_without_paying(case: Case) -> None:
    files: Any = {"/a.png": reply(200, png("red")), "/b.png": [reply(500)] * 3 + [reply(200, png("blue"))]}
    with FaultServer(files=files) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png", f"{server.origin}/b.png"))]
        client = case.client(server.url)
        result = case.generate(client, ImageRequest(prompt="a fox", n=2))
        assert [failure.retryable for failure in result.failures] == [True]
        assert case.states() == ["partial"]
        (resumed,) = client.resume()
        assert [image.read() for image in resumed.images] == [png("red"), png("blue")]
        assert len(server.posts) == 1
        assert [request.path for request in server.requests].count("/a.png") == 1
    case.is_paid(2 * PRICE)


def test_50_a_used_operation_id_with_another_request_sends_nothing(case: Case) -> None:
    with FaultServer(GOOD) as server:
        case.generate(case.client(server.url), ImageRequest(prompt="a fox", operation_id="mine"))
        error = case.fails(
            server.url, errors.InvalidImageRequestError, ImageRequest(prompt="a wolf", operation_id="mine")
        )
        assert error.charged == "no"
        assert len(server.posts) == 1
    case.is_paid()


def test_51_a_request_identical_to_an_uncertain_one_sends_nothing_and_raises_the_same(case: Case) -> None:
    with FaultServer(drop, GOOD) as server:
        first = case.fails(server.url, errors.PaymentUncertainError)
        again = case.fails(server.url, errors.PaymentUncertainError)
        assert (again.operation_id, str(again)) == (first.operation_id, str(first))
        assert len(server.posts) == 1
        assert case.generate(case.client(server.url), "another fox").images
        assert case.generate(case.client(server.url), ImageRequest(prompt="a fox", operation_id="once more")).images
        assert len(server.posts) == 3


@pytest.mark.parametrize(("outcome", "spent"), [("charged", PRICE), ("not_charged", Decimal(0))])
def test_51_resolving_lifts_the_guard_and_settles_the_budget(outcome: Any, spent: Decimal, case: Case) -> None:
    with FaultServer(drop, GOOD) as server:
        error = case.fails(server.url, errors.PaymentUncertainError)
        case.store.resolve(str(error.operation_id), outcome)
        assert case.money() == (spent, ZERO)
        assert case.store.unfinished() == []
        assert case.generate(case.client(server.url), "a fox").images
        assert len(server.posts) == 2
    with pytest.raises(ValueError, match="No unresolved operation"):
        case.store.resolve(str(error.operation_id), outcome)


def test_53_an_unknown_price_is_refused_before_anything_is_sent(case: Case) -> None:
    with FaultServer(GOOD) as server:
        error = case.fails(server.url, errors.InvalidImageRequestError, ImageRequest(prompt="x", model="wan9"))
        assert server.requests == []
    case.is_refused(error)


def test_54_a_named_budget_keeps_its_reservation_after_a_restart(case: Case, tmp_path: Path) -> None:
    case.budget = Budget(max_images=2, max_usd=1, name="team")
    with FaultServer(drop, GOOD) as server:
        case.is_uncertain(case.fails(server.url, errors.PaymentUncertainError))
        case.store = WanStore(tmp_path / "store")
        case.budget = Budget(max_images=2, max_usd=1, name="team")
        assert case.generate(case.client(server.url), "a wolf").images
        assert case.money() == (PRICE, PRICE)
        case.fails(server.url, errors.BudgetExceededError, "a bear")
        assert len(server.posts) == 2


def test_54_a_window_forgets_what_is_older(case: Case) -> None:
    case.budget = Budget(max_images=1, name="second", window=timedelta(seconds=0.5))
    with FaultServer(GOOD) as server:
        case.generate(case.client(server.url), "a fox")
        case.fails(server.url, errors.BudgetExceededError, "a wolf")
        time.sleep(0.6)
        assert case.generate(case.client(server.url), "a bear").images


def test_55_56_a_folder_that_is_lost_after_the_payment_loses_no_image(case: Case, tmp_path: Path) -> None:
    def lose(connection: socket.socket, request: Any) -> None:
        import shutil

        shutil.rmtree(tmp_path / "store" / "blobs", ignore_errors=True)
        (tmp_path / "store" / "blobs").write_text("no folder any more")
        GOOD(connection, request)

    with FaultServer(lose) as server, pytest.warns(RuntimeWarning, match="kept in memory only"):
        result = case.generate(case.client(server.url), "a fox")
    assert result.images[0].read() == png()
    assert case.money() == (PRICE, ZERO)


def test_55_56_59_a_store_that_cannot_be_used_refuses_before_paying(case: Case, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "ledger.sqlite3").write_bytes(b"this is no database" * 99)
    with FaultServer(GOOD) as server:
        error = case.fails(server.url, errors.StoreError)
        assert server.posts == []
    assert error.charged == "no"
    assert case.money() == (ZERO, ZERO)


def test_59_a_locked_ledger_refuses_before_paying(case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sqlite3

    from langchain_wan._storage import sqlite

    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.2)
    case.store.add(png())
    other = sqlite3.connect(tmp_path / "store" / "ledger.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    case.store = WanStore(tmp_path / "store")
    with FaultServer(GOOD) as server:
        error = case.fails(server.url, errors.StoreError)
        assert server.posts == []
    other.close()
    assert error.charged == "no"


def test_63_a_clock_that_jumps_moves_no_deadline(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter([86400.0, -86400.0] * 1000)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    with FaultServer(reply(200, BODY, after=0.3)) as server:
        assert case.generate(case.client(server.url, timeout=5), "a fox").images
        assert len(server.posts) == 1


def test_66_two_event_loops_one_after_the_other(case: Case) -> None:
    with FaultServer(GOOD) as server:
        client = case.client(server.url)
        for number in range(2):
            assert asyncio.run(client.agenerate(f"fox {number}")).images
    assert len(case.states()) == 2
