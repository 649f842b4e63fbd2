"""An answer that is on the disk was billed: it is resumed whatever the ledger says, and never thrown away."""

from __future__ import annotations

import base64
import gc
import logging
import threading
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import Budget, ImageRequest, WanClient, WanStore, errors
from langchain_wan._storage.owners import forget_owners
from langchain_wan._storage.sqlite import BUSY_TIMEOUT
from tests.support.fault_server import KEY, FaultServer, answer, drop, reply
from tests.support.faults import full_disk, locked_ledger, read_only, small_disk
from tests.support.images import data_uri, png
from tests.support.processes import Program, run_program
from tests.support.services import Generate, build_client

ZERO = Decimal(0)
REQUEST = ImageRequest(prompt="a fox", operation_id="mine")


@pytest.fixture
def short_busy_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUSY_TIMEOUT > 1
    monkeypatch.setattr("langchain_wan._storage.sqlite.BUSY_TIMEOUT", 0.2)


KILLED_AFTER_SAVING = """
import os, signal, sys
from langchain_wan import ImageRequest, WanClient, WanStore
from langchain_wan._storage.blobs import DiskBlobs
real = DiskBlobs.keep_raw
def keep_raw(self, name, body):
    real(self, name, body)
    os.kill(os.getpid(), signal.SIGKILL)
DiskBlobs.keep_raw = keep_raw
url, key, folder = sys.argv[1:4]
client = WanClient(base_url=url, api_key=key, store=WanStore(folder))
client.generate(ImageRequest(prompt="a fox", operation_id="mine"))
"""


@pytest.mark.parametrize("looked_at", [False, True], ids=["sending", "uncertain"])
def test_a_process_killed_before_it_wrote_that_it_paid_lost_nothing(looked_at: bool, tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        assert run_program(KILLED_AFTER_SAVING, server.url, KEY, tmp_path).returncode < 0
        client = build_client(server, store=WanStore(tmp_path))
        if looked_at:
            ledger = client.store._storage.ledger
            (operation,) = ledger.operations()
            ledger.fail(operation.service, operation.id, "uncertain", {}, owner=operation.owner)
        assert [(entry.state, entry.cost_usd) for entry in client.store.unfinished()] == [("partial", Decimal("0.030"))]
        (result,) = client.resume()
        assert result[0].read() == png()
        assert len(server.posts) == 1


def test_a_repeat_of_a_call_whose_answer_is_here_gets_its_images(generate: Generate, tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        assert run_program(KILLED_AFTER_SAVING, server.url, KEY, tmp_path).returncode < 0
        budget = Budget(max_usd=1, name="team")
        result = generate(build_client(server, store=WanStore(tmp_path), budget=budget), REQUEST)
        assert result.replayed
        assert result[0].read() == png()
        assert len(server.posts) == 1


@pytest.mark.parametrize("body", [answer(data_uri()), png()], ids=["documented", "the image itself"])
@pytest.mark.parametrize("outcome", ["charged", "not_charged"])
def test_settling_a_call_never_deletes_an_answer_that_has_images(outcome: Any, body: bytes, tmp_path: Path) -> None:
    with FaultServer(reply(200, body)) as server:
        assert run_program(KILLED_AFTER_SAVING, server.url, KEY, tmp_path).returncode < 0
        client = build_client(server, store=WanStore(tmp_path))
        client.store.resolve("mine", outcome)
        assert [(entry.state, entry.cost_usd) for entry in client.store.history()] == [("charged", Decimal("0.030"))]
        (result,) = client.resume()
        assert result[0].read() == png()
        assert [entry.state for entry in client.store.history()] == ["done"]
        assert len(server.posts) == 1


def test_a_settled_call_whose_urls_have_expired_is_not_tried_for_ever(tmp_path: Path) -> None:
    with FaultServer(reply(200, answer("http://127.0.0.1:9/a.png?Expires=1"))) as server:
        client = build_client(server, store=WanStore(tmp_path), download_timeout=1)
        with pytest.raises(errors.PaidButNotRetrievedError):
            client.generate(REQUEST)
        client.store.resolve("mine", "charged")
        assert client.resume() == []
        assert [entry.state for entry in client.store.history()] == ["charged"]


# The ledger is locked, or the disk full


@pytest.mark.usefixtures("short_busy_timeout")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("next_step", ["history", "another call", "add", "spending"])
def test_an_end_that_could_not_be_written_is_written_with_the_next_transaction(
    next_step: str, generate: Generate, tmp_path: Path
) -> None:
    budget = Budget(max_usd=1, name="team")
    answering = threading.Event()
    with FaultServer(reply(200, answer(data_uri()), when=answering), reply(200, answer(data_uri("blue")))) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=budget)
        client.store.history()
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(generate(client, REQUEST)))
        thread.start()
        while not server.posts:
            answering.wait(0.01)
        with locked_ledger(tmp_path):
            answering.set()
            thread.join()
        assert results[0][0].width == 300
        if next_step == "another call":
            client.generate("a wolf")
        elif next_step == "add":
            client.store.add(png("green"))
        elif next_step == "spending":
            assert (budget.spent_usd, budget.held_usd) == (Decimal("0.03"), ZERO)
        states = {entry.operation_id: entry.state for entry in WanStore(tmp_path).history()}
        assert states["mine"] == "partial"  # its image has no row yet
        assert {entry.operation_id: entry.state for entry in client.store.history()}["mine"] == "partial"
        assert client.resume()[0][0].read() == png()
        assert client.store.unfinished() == []
        assert len(server.posts) == (2 if next_step == "another call" else 1)


WRITES_NOTHING_MORE = """
import sys, time
from langchain_wan import ImageRequest, WanClient, WanStore
from langchain_wan._storage import sqlite
sqlite.BUSY_TIMEOUT = 0.2
import warnings; warnings.simplefilter("ignore")
url, key, folder = sys.argv[1:4]
result = WanClient(base_url=url, api_key=key, store=WanStore(folder)).generate(
    ImageRequest(prompt="a fox", operation_id="mine")
)
print("got", len(result), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("behaviour", ["answers", "drops"])
def test_others_do_not_wait_for_a_process_that_could_not_write_its_end(behaviour: str, tmp_path: Path) -> None:
    answering = threading.Event()

    def behave(connection: Any, request: Any) -> None:
        answering.wait(30)
        (reply(200, answer(data_uri())) if behaviour == "answers" else drop)(connection, request)

    with FaultServer(behave) as server:
        client = build_client(server, store=WanStore(tmp_path))
        client.store.history()
        with Program(WRITES_NOTHING_MORE, server.url, KEY, tmp_path) as program:
            while not server.posts:
                threading.Event().wait(0.02)
            with locked_ledger(tmp_path):
                answering.set()
                threading.Event().wait(3)
            if behaviour == "answers":
                assert client.generate(REQUEST)[0].read() == png()
            else:
                with pytest.raises(errors.PaymentUncertainError):
                    client.generate(REQUEST)
            del program
        assert len(server.posts) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("most", [1_000, 5_000, 20_000, 60_000, 100_000, 150_000])
def test_a_full_disk_sends_at_most_once_and_tells(most: int, generate: Generate, tmp_path: Path) -> None:
    store = WanStore(tmp_path / "store")
    with FaultServer(reply(200, answer(data_uri()))) as server:
        client = build_client(server, store=store)
        with full_disk(most):
            for _ in range(4):
                try:
                    assert generate(client, REQUEST)[0].width == 300
                except errors.WanError as error:
                    assert isinstance(error, errors.StoreError | errors.PaymentUncertainError)  # noqa: PT017
        assert len(server.posts) <= 1
        forget_owners()
        try:
            result = generate(build_client(server, store=WanStore(tmp_path / "store")), REQUEST)
        except errors.PaymentUncertainError:
            assert len(server.posts) == 1
        else:
            assert result[0].read() == png()
        assert len(server.posts) == 1


# Mixed answers

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1" + bytes(64)
JPEG_XL = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a" + bytes(64)


def as_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_an_answer_stays_while_an_image_of_a_format_that_is_not_opened_may_still_come(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(reply(200, answer(data_uri(), as_uri(JPEG_XL)))) as server:
        client = build_client(server, store=WanStore(tmp_path))
        result = generate(client, ImageRequest(prompt="a fox", n=2, operation_id="mine"))
        assert (len(result), [failure.retryable for failure in result.failures]) == (1, [True])
        assert [entry.state for entry in client.store.unfinished()] == ["partial"]
        assert len(client.resume()[0]) == 1
        assert [entry.state for entry in client.store.unfinished()] == ["partial"]
        from langchain_wan._media import decode

        inspect = decode.inspect

        def read_all(data: bytes, **options: Any) -> Any:  # as a later version may
            return inspect(png("blue") if data == JPEG_XL else data, **options)

        monkeypatch.setattr(decode, "inspect", read_all)
        assert len(client.resume()[0]) == 2
        assert [entry.state for entry in client.store.history()] == ["done"]
        assert len(server.posts) == 1


def test_an_answer_stays_while_an_address_is_refused_that_could_be_allowed(generate: Generate, tmp_path: Path) -> None:
    with (
        FaultServer(files={"/b.png": reply(200, png("blue"))}) as files,
        FaultServer(reply(200, answer(data_uri(), f"{files.origin}/b.png"))) as server,
    ):
        client = build_client(server, store=WanStore(tmp_path))
        result = generate(client, ImageRequest(prompt="a fox", n=2, operation_id="mine"))
        assert len(result) == 1
        assert [entry.state for entry in client.store.unfinished()] == ["partial"]
        allowing = build_client(server, store=WanStore(tmp_path), allowed_networks=(ip_network("127.0.0.0/8"),))
        assert [len(resumed) for resumed in allowing.resume()] == [2]
        assert [entry.state for entry in client.store.history()] == ["done"]
        assert len(server.posts) == 1


def test_an_image_that_can_never_be_read_leaves_nothing_open(generate: Generate, tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri(), as_uri(png()[:50])))) as server:
        client = build_client(server, store=WanStore(tmp_path))
        assert len(generate(client, ImageRequest(prompt="a fox", n=2))) == 1
        assert client.store.unfinished() == []
        assert list((tmp_path / "raw").iterdir()) == []


# More images than were asked for


def many(count: int) -> bytes:
    return answer(*[data_uri()] * count)


@pytest.mark.parametrize("make_budget", [lambda: Budget(max_usd=1), lambda: Budget(max_usd=1, name="team")])
def test_a_few_images_more_than_were_asked_for_are_delivered_and_counted(
    make_budget: Callable[[], Budget], generate: Generate, tmp_path: Path
) -> None:
    budget = make_budget()
    with FaultServer(reply(200, many(4))) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=budget)
        assert len(generate(client, "a fox")) == 4
        assert (budget.spent_usd, budget.held_usd) == (Decimal("0.12"), ZERO)


@pytest.mark.parametrize("count", [5, 900])
@pytest.mark.parametrize("make_budget", [lambda: Budget(max_usd=1), lambda: Budget(max_usd=1, name="team")])
def test_far_more_images_than_were_asked_for_are_kept_and_left_to_the_operator(
    count: int, make_budget: Callable[[], Budget], generate: Generate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    budget = make_budget()
    with FaultServer(reply(200, many(count))) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=budget)
        with caplog.at_level(logging.ERROR), pytest.raises(errors.UnreadableAnswerError) as raised:
            generate(client, REQUEST)
        assert raised.value.charged == "maybe"
        assert f"answered with {count} images where 1 was asked for" in caplog.text
        assert [entry.state for entry in client.store.unfinished()] == ["uncertain"]
        assert (budget.spent_usd, budget.held_usd) == (ZERO, Decimal("0.03"))
        assert client.resume() == []
        with pytest.raises(errors.PaymentUncertainError):
            generate(client, REQUEST)
        client.store.resolve("mine", "charged")
        assert (budget.spent_usd, budget.held_usd) == (Decimal("0.03"), ZERO)
        assert client.store._storage.blobs.raw(f"{server.url} mine") is not None
        assert len(server.posts) == 1


def test_the_client_is_told_apart_from_nobody_by_the_spelling_of_its_service(tmp_path: Path) -> None:
    spellings = [
        "https://api.example.com/v1",
        "https://API.Example.COM:443/v1/",
        "https://api.example.com./v1",
        "HTTPS://api.example.com:443/v1//",
    ]
    names = {
        WanClient(base_url=spelling, api_key="k", store=WanStore(tmp_path)).endpoint().base_url
        for spelling in spellings
    }
    assert names == {"https://api.example.com/v1"}
    for spelling in ("https://bücher.example/v1", "https://xn--bcher-kva.example", "https://BÜCHER.example:443"):
        assert "xn--bcher-kva.example" in WanClient(base_url=spelling, api_key="k").endpoint().base_url
    with FaultServer(drop) as server:
        for url in (server.url, f"{server.url}/", server.url.replace("http", "HTTP")):
            with pytest.raises(errors.PaymentUncertainError):
                WanClient(base_url=url, api_key=KEY, store=WanStore(tmp_path)).generate(REQUEST)
        assert len(server.posts) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("size", ["64k", "256k", "600k"])
def test_a_small_disk_sends_at_most_once_and_tells(size: str, generate: Generate, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size) as disk, FaultServer(reply(200, answer(data_uri()))) as server:
        client = build_client(server, store=WanStore(disk / "store"))
        for _ in range(3):
            try:
                assert generate(client, REQUEST)[0].width == 300
            except errors.WanError as error:
                assert isinstance(error, errors.StoreError)  # noqa: PT017
        assert len(server.posts) == 0  # less room than an image may need
        del client
        gc.collect()


def test_a_folder_that_nobody_can_write_sends_nothing(generate: Generate, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with FaultServer(reply(200, answer(data_uri()))) as server:
        client = build_client(server, store=WanStore(folder))
        image = client.generate("a fox")[0]
        with read_only(folder):
            for store in (client.store, WanStore(folder)):
                with pytest.raises(errors.StoreError):
                    generate(build_client(server, store=store), REQUEST)
            assert image.read() == png()
        assert generate(build_client(server, store=WanStore(folder)), REQUEST).images
        assert len(server.posts) == 2
