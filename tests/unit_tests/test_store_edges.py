"""Small mistakes that would cost money, bytes or privacy: each was made on purpose, and went unnoticed once."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from langchain_wan import Budget, WanStore, errors
from langchain_wan._storage.blobs import DiskBlobs, MemoryBlobs
from langchain_wan._storage.ids import image_id
from langchain_wan._storage.money import to_nano
from langchain_wan._storage.operations import Limit
from langchain_wan._storage.owners import Owner
from tests.support.claims import claim
from tests.support.images import data_uri, png

DIGEST = "ab" * 32


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
@pytest.mark.parametrize("first", ["add", "history", "ensure_space", "keep_raw", "claim"])
def test_every_folder_is_its_owners_alone_whatever_is_written_first(first: str, tmp_path: Path) -> None:
    made = WanStore(tmp_path / "deep" / "images")
    if first == "add":
        made.add(png())
    elif first == "history":
        made.history()
    elif first == "ensure_space":
        made._storage.blobs.ensure_space(1)
    elif first == "keep_raw":
        made._storage.blobs.keep_raw("one", b"{}")
    else:
        made._storage.ledger.claim(claim())
    found = [tmp_path / "deep" / "images", *(tmp_path / "deep" / "images").rglob("*")]
    for path in found:
        mode = stat.S_IMODE(path.stat().st_mode)
        # SQLite gives its -wal and -shm files the mode of the database.
        assert mode == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize(("cap", "fits"), [("0.12", True), ("0.119999999", False)])
def test_what_is_held_counts_to_the_last_billionth(store: WanStore, cap: str, fits: bool) -> None:
    limit = Limit("team", max_nano=to_nano(Decimal(cap)))
    assert store._storage.ledger.claim(claim("one", limit=limit)).outcome == "claimed"
    assert (store._storage.ledger.claim(claim("two", limit=limit)).outcome == "claimed") is fits


@pytest.mark.parametrize("settled", [True, False])
def test_what_is_spent_and_what_is_held_are_added_up(store: WanStore, settled: bool) -> None:
    limit = Limit("team", max_nano=to_nano(Decimal("0.13")))
    store._storage.ledger.claim(claim("one", limit=limit))
    if settled:
        store._storage.ledger.transition(claim().service, "one", "done", cost_nano=to_nano(Decimal("0.06")), images=2)
    assert store._storage.ledger.claim(claim("two", limit=limit)).outcome == "claimed"
    assert store._storage.ledger.claim(claim("three", limit=limit)).outcome != "claimed"


def test_an_error_is_kept_with_the_state_that_it_caused(store: WanStore) -> None:
    store._storage.ledger.claim(claim())
    store._storage.ledger.transition(claim().service, "one", "uncertain", error={"type": "PaymentUncertainError"})
    found = store._storage.ledger.operation(claim().service, "one")
    assert found is not None
    assert found.error == {"type": "PaymentUncertainError"}


def test_memory_counts_what_was_deleted_as_free() -> None:
    blobs = MemoryBlobs(cap=10)
    blobs.write("a", b"12345")
    blobs.delete("a")
    blobs.delete("never there")
    blobs.write("b", b"12345")
    blobs.write("c", b"12345")
    assert blobs.read("b") == b"12345"
    with pytest.warns(UserWarning, match="oldest images are dropped"):
        blobs.write("d", b"1")
    assert blobs.read("b") is None


def test_bytes_that_somebody_holds_are_not_kept_twice() -> None:
    blobs = MemoryBlobs(cap=5)
    held = blobs.write("a", b"12345")
    with pytest.warns(UserWarning, match="oldest images are dropped"):
        blobs.write("b", b"12345")
    assert blobs.write("a", b"12345") is held
    assert blobs.write("a", b"12345") is held


@pytest.mark.filterwarnings("ignore:The in-memory image store:UserWarning")
def test_an_image_that_was_asked_for_by_id_keeps_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = WanStore()
    made._storage._parts.blobs = MemoryBlobs(cap=1)
    image = made.get(made.add(png("red")).id)
    gc.collect()
    made.add(png("blue"))
    assert image is not None
    assert image.read() == png("red")


async def test_the_async_twins_pass_everything_on(store: WanStore) -> None:
    image = await store.aadd(png(), scope="anna")
    assert store.scoped("anna").get(image.id) is not None
    assert store.scoped("ben").get(image.id) is None
    assert (await store.aadd(data_uri())).read() == png()
    store._storage.ledger.claim(claim("one"))
    store._storage.ledger.fail(claim().service, "one", "uncertain", {})
    await store.aresolve("one", "charged")
    assert store.history()[0].state == "charged"


def test_what_keep_is_told_of_a_url_is_what_get_returns(store: WanStore) -> None:
    from langchain_wan._media import decode

    ends = datetime(2026, 11, 24, tzinfo=UTC)
    kept = store._storage.keep(png(), decode.inspect(png()), url="https://a.example/1.png", expires_at=ends)
    found = store.get(kept.id)
    assert found is not None
    assert kept.expires_at == found.expires_at == ends
    assert store.get("'; DROP TABLE images; --") is None
    assert store.get(image_id("00" * 32)) is None


def test_a_write_that_fails_leaves_no_file_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = DiskBlobs(tmp_path)
    places: list[str] = []

    def failing(descriptor: int) -> None:
        places.extend(str(path) for path in tmp_path.rglob("*.part"))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(errors.StoreError, match="No space left"):
        blobs.write(DIGEST, b"data")
    # Written beside its target: a rename is atomic only within a file system.
    assert [Path(place).parent for place in places] == [tmp_path / "blobs" / "ab"]
    assert Path(places[0]).name.startswith(".")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    blobs.write(DIGEST, b"data")
    assert (tmp_path / "blobs" / "ab" / DIGEST).read_bytes() == b"data"


def test_the_text_of_a_damaged_or_full_store_says_what_to_do(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    blobs.write(DIGEST, b"data")
    (tmp_path / "blobs" / "ab" / DIGEST).write_bytes(b"other")
    text = r"^A stored image is damaged; it was moved aside\. Restore it from a backup\.$"
    with pytest.raises(errors.StoreError, match=text):
        blobs.read(DIGEST)
    assert (tmp_path / "blobs" / "ab" / f"{DIGEST}.damaged").exists()
    with pytest.raises(errors.StoreError, match=r"^The image store's disk is full\. Make room on it\.$"):
        blobs.ensure_space(10**9)


def test_an_owner_in_memory_is_gone_with_its_process(tmp_path: Path) -> None:
    assert Owner(None).is_running(("service", "one")) is False
    assert Owner(tmp_path / "store.lock").is_running(("service", "one")) is False


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "a budget needs max_usd, max_images or both"),
        ({"max_usd": "many"}, "max_usd must be a number of dollars"),
        ({"max_usd": -1}, "max_usd must be a finite number of at least 0"),
        ({"max_images": -1}, "max_images must be a whole number from 0 to 9223372036854775807"),
    ],
)
def test_the_text_of_a_wrong_budget_says_what_is_wrong(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Budget(**arguments)  # type: ignore[arg-type]
