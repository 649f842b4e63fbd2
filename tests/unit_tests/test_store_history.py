"""What the store tells of operations, names and old files: exactly, since people settle money by it."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import Budget, WanStore, errors, price_usd
from langchain_wan._storage.blobs import ORPHAN_AGE, DiskBlobs, MemoryBlobs
from langchain_wan._storage.catalog import Catalog
from langchain_wan._storage.ids import image_id
from langchain_wan._storage.ledger import Ledger
from langchain_wan._storage.money import to_nano, to_usd
from langchain_wan._storage.operations import Limit, Operation
from langchain_wan._storage.owners import Owner
from langchain_wan._storage.sqlite import Database
from langchain_wan.errors import error_from_json, error_to_json
from tests.support.claims import SERVICE, claim
from tests.support.images import png


def test_an_entry_tells_all_of_its_operation(store: WanStore) -> None:
    before = datetime.now(UTC)
    store._storage.ledger.claim(claim())
    (entry,) = store.history()
    assert (entry.operation_id, entry.service, entry.state, entry.model) == ("one", SERVICE, "claimed", "wan2.7-image")
    assert (entry.prompt, entry.n, entry.parents, entry.images) == ("a fox", 2, ["img_p"], [])
    assert entry.cost_usd == Decimal("0.060")
    assert before <= entry.created_at <= datetime.now(UTC)
    assert entry.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("state", "cost", "shown"),
    [
        ("paid", None, "0.060"),
        ("uncertain", None, "0.060"),
        ("refused", None, "0"),
        ("done", Decimal("0.03"), "0.030"),
        ("partial", Decimal("0.03"), "0.030"),
        ("charged", Decimal("0.06"), "0.060"),
    ],
)
def test_the_cost_is_what_was_charged_or_what_may_have_been(
    state: Any, cost: Decimal | None, shown: str, store: WanStore
) -> None:
    store._storage.ledger.claim(claim())
    result = {"images": [{"id": "img_a"}, {"id": "img_b"}]} if cost else None
    store._storage.ledger.transition(
        SERVICE, "one", state, cost_nano=None if cost is None else to_nano(cost), images=1, result=result
    )
    (entry,) = asyncio.run(store.ahistory())
    assert entry.state == state
    assert entry.cost_usd == Decimal(shown)
    assert entry.images == (["img_a", "img_b"] if cost else [])


def test_history_lists_the_newest_first_and_so_many(store: WanStore) -> None:
    for name in ("one", "two", "three"):
        store._storage.ledger.claim(claim(name))
    assert [entry.operation_id for entry in store.history()] == ["three", "two", "one"]
    assert [entry.operation_id for entry in store.history(2)] == ["three", "two"]
    assert len(asyncio.run(store.ahistory(1))) == 1


def test_a_scope_sees_its_own_operations(store: WanStore) -> None:
    for name, scope in (("hers", "anna"), ("his", "ben")):
        store._storage.ledger.claim(claim(name, scope=scope))
        store._storage.ledger.begin_sending(SERVICE, name)
    store._storage.ledger.mark_idle(SERVICE, "hers")
    store._storage.ledger.mark_idle(SERVICE, "his")
    assert [entry.operation_id for entry in store.scoped("anna").history()] == ["hers"]
    assert [entry.operation_id for entry in store.scoped("anna").unfinished()] == ["hers"]
    with pytest.raises(ValueError, match="No unresolved operation 'his'"):
        store.scoped("anna").resolve("his", "charged")
    store.scoped("anna").resolve("hers", "charged")
    assert [entry.state for entry in store.history()] == ["uncertain", "charged"]


@pytest.mark.parametrize(
    ("reached", "means", "cost"),
    [("claimed", "refused", "0"), ("sending", "uncertain", "0.060"), ("paid", "partial", "0.060")],
)
def test_what_a_dead_process_left_is_shown_as_what_it_means(
    reached: Any, means: str, cost: str, store: WanStore
) -> None:
    store._storage.ledger.claim(claim())
    if reached != "claimed":
        store._storage.ledger.begin_sending(SERVICE, "one")
    if reached == "paid":
        store._storage.ledger.transition(SERVICE, "one", "paid")
    assert [entry.state for entry in store.history()] == [reached]
    store._storage.ledger.mark_idle(SERVICE, "one")
    assert [(entry.state, entry.cost_usd) for entry in store.history()] == [(means, Decimal(cost))]


def test_unfinished_leaves_out_what_runs_and_what_is_settled(store: WanStore) -> None:
    for name in ("runs", "died", "not sent", "uncertain", "partial", "done", "refused", "charged"):
        store._storage.ledger.claim(claim(name))
        if name in {"runs", "died"}:
            store._storage.ledger.begin_sending(SERVICE, name)
        elif name != "not sent":
            store._storage.ledger.transition(SERVICE, name, name)  # type: ignore[arg-type]  # the names are states
        if name != "runs":
            store._storage.ledger.mark_idle(SERVICE, name)
    assert {entry.operation_id: entry.state for entry in asyncio.run(store.aunfinished())} == {
        "died": "uncertain",
        "uncertain": "uncertain",
        "partial": "partial",
    }


def test_only_two_outcomes_settle_and_only_once(store: WanStore) -> None:
    store._storage.ledger.claim(claim())
    with pytest.raises(ValueError, match="No unresolved operation 'one'"):
        store.resolve("one", "charged")
    store._storage.ledger.mark_idle(SERVICE, "one")
    with pytest.raises(ValueError, match='must be "charged" or "not_charged"'):
        store.resolve("one", "perhaps")  # type: ignore[arg-type]  # wrong on purpose
    store._storage.blobs.keep_raw(f"{SERVICE} one", b"raw")
    asyncio.run(store.aresolve("one", "not_charged"))
    assert store._storage.blobs.raw(f"{SERVICE} one") is None
    assert [(entry.state, entry.cost_usd) for entry in store.history()] == [("refused", Decimal(0))]


@pytest.mark.parametrize(
    ("state", "outcome", "ended"), [("partial", "not_charged", "charged"), ("uncertain", "charged", "charged")]
)
def test_what_was_paid_stays_paid(state: Any, outcome: Any, ended: str, store: WanStore) -> None:
    told: list[Any] = []
    store._storage.ledger.claim(claim())
    store._storage.ledger.mark_idle(SERVICE, "one")
    store._storage.ledger.transition(
        SERVICE, "one", state, cost_nano=to_nano(Decimal("0.03")) if state == "partial" else None, images=1
    )
    store._storage.keep_reservation((SERVICE, "one"), lambda cost, images: told.append((cost, images)))
    store.resolve("one", outcome)
    (entry,) = store.history()
    cost = Decimal("0.030") if state == "partial" else Decimal("0.060")
    assert (entry.state, entry.cost_usd) == (ended, cost)
    assert told == [(cost, 2)]


def test_a_named_budget_counts_what_is_held_and_spent_by_service_name_and_window() -> None:
    ledger = Ledger(Database(None), None)
    limit = Limit("team", max_nano=to_nano(Decimal("0.10")), max_images=3, window=60)
    assert ledger.claim(claim("one", limit=limit)).outcome == "claimed"
    assert ledger.read_spending(limit, SERVICE) == (0, to_nano(Decimal("0.06")), 2)
    assert ledger.claim(claim("two", limit=limit)).outcome == "over_budget"
    assert ledger.claim(claim("other", limit=Limit("other", max_images=2))).outcome == "claimed"
    assert ledger.claim(claim("elsewhere", service="http://127.0.0.1:1/v1", limit=limit)).outcome == "claimed"
    ledger.transition(SERVICE, "one", "done", cost_nano=to_nano(Decimal("0.03")), images=1)
    assert ledger.read_spending(limit, SERVICE) == (to_nano(Decimal("0.03")), 0, 1)
    assert ledger.read_spending(limit) == (to_nano(Decimal("0.03")), to_nano(Decimal("0.06")), 3)
    assert ledger.claim(claim("three", limit=limit)).outcome == "claimed"
    ledger.transition(SERVICE, "three", "refused")
    assert ledger.read_spending(limit, SERVICE) == (to_nano(Decimal("0.03")), 0, 1)
    assert ledger.read_spending(Limit("team", window=-1), SERVICE) == (0, 0, 0)


def test_an_equal_request_is_told_from_others_by_service_scope_print_and_turn() -> None:
    ledger = Ledger(Database(None), None)
    first = claim("one", fingerprint="same", turn="1", scope="anna")
    ledger.claim(first)
    assert ledger.claim(claim("runs", fingerprint="same", turn="1", scope="anna")).outcome == "claimed"
    for name in ("one", "runs"):
        ledger.begin_sending(SERVICE, name)
        ledger.mark_idle(SERVICE, name)
    ledger.transition(SERVICE, "runs", "done")
    result = ledger.claim(claim("two", fingerprint="same", turn="1", scope="anna"))
    assert result.outcome == "identical"
    assert isinstance(result.operation, Operation)
    assert result.operation.id == "one"
    assert result.operation.request == first.request
    changes: list[dict[str, Any]] = [{"turn": "2"}, {"scope": "ben"}, {"fingerprint": "x"}, {"service": "https://x"}]
    for number, change in enumerate(changes):
        fields = {"fingerprint": "same", "turn": "1", "scope": "anna", **change}
        assert ledger.claim(claim(f"other {number}", **fields)).outcome == "claimed"
    named = claim("mine", fingerprint="same", turn="1", scope="anna", named_by_caller=True)
    assert ledger.claim(named).outcome == "claimed"
    assert ledger.claim(named).outcome == "taken"


def test_only_one_takes_a_paid_operation_to_resume() -> None:
    ledger = Ledger(Database(None), None)
    ledger.claim(claim())
    ledger.transition(SERVICE, "one", "paid")
    assert not ledger.acquire_for_resume(SERVICE, "one")
    ledger.mark_idle(SERVICE, "one")
    assert ledger.acquire_for_resume(SERVICE, "one")
    assert not ledger.acquire_for_resume(SERVICE, "one")
    ledger.mark_resumable(SERVICE, "one")
    found = ledger.operation(SERVICE, "one")
    assert found is not None
    assert found.state == "partial"
    assert not ledger.acquire_for_resume(SERVICE, "nobody")
    ledger.transition(SERVICE, "one", "done")
    ledger.mark_resumable(SERVICE, "one")
    assert not ledger.acquire_for_resume(SERVICE, "one")


def test_an_end_is_written_only_over_what_is_still_open_and_ones_own() -> None:
    ledger = Ledger(Database(None), None)
    ledger.claim(claim(limit=Limit("team", max_images=9)))
    ledger.fail(SERVICE, "one", "uncertain", {"type": "x"}, owner="somebody else")
    assert ledger.operations(states={"claimed"})
    ledger.fail(SERVICE, "one", "uncertain", {"type": "first"})
    ledger.fail(SERVICE, "one", "refused", {"type": "second"})
    (found,) = ledger.operations()
    assert (found.state, found.error) == ("uncertain", {"type": "first"})
    assert ledger.read_spending(Limit("team"))[2] == 2
    ledger.claim(claim("two", limit=Limit("team", max_images=9)))
    ledger.fail(SERVICE, "two", "refused", {"type": "x"})
    assert ledger.read_spending(Limit("team"))[2] == 2


def test_names_belong_to_scopes_and_are_forgotten_with_the_last_one(store: WanStore) -> None:
    image = store.add(png(), scope="anna")
    other = store.add(png("blue"), scope="anna")
    store.add(png(), scope="ben")
    assert store._storage.catalog.names("anna") == [image.id, other.id]
    assert store._storage.catalog.names("anna", 1) == [other.id]
    assert not store.scoped("carl").delete(image.id)
    assert store.scoped("anna").delete(image.id)
    assert store.scoped("anna").get(image.id) is None
    assert store.read(image.sha256) == png()
    assert asyncio.run(store.scoped("ben").adelete(image.id))
    assert store.get(image.id) is None
    assert store.read(image.sha256) is None
    assert not store.delete(image.id)
    assert store.get(other.id) == other


def test_pruning_counts_what_it_deletes(store: WanStore) -> None:
    store.add(png())
    assert store.prune(timedelta(days=1)) == 0
    assert asyncio.run(store.aprune(timedelta(seconds=-1))) == 1
    assert store._storage.catalog.names("") == []


def test_a_newer_url_replaces_an_older_one_and_none_replaces_nothing() -> None:
    catalog = Catalog(Database(None))
    name = image_id("00" * 32)
    for url in ("https://a.example/1.png", None, "https://a.example/2.png?sig=1"):
        assert catalog.add_image({"id": name, "sha256": "00" * 32, "url": url}, "anna") == name
    assert catalog.image(name, "anna") == {
        "id": name,
        "sha256": "00" * 32,
        "url": "https://a.example/2.png?sig=1",
        "expires_at": None,
    }
    assert catalog.image(name, "ben") is None
    assert catalog.image(name, "") is not None
    assert catalog.image_at("https://a.example/2.png#x", "anna") is not None
    assert catalog.image_at("https://a.example/2.png", "ben") is None
    assert catalog.image_at("https://a.example/2", "anna") is None


def test_an_error_can_be_written_down_and_raised_again() -> None:
    error = errors.PaymentUncertainError("Lost.", stage="wait", max_cost_usd=Decimal("0.03"), operation_id="one")
    back = error_from_json(error_to_json(error))
    assert type(back) is errors.PaymentUncertainError
    assert (str(back), vars(back)) == (str(error), vars(error))
    assert type(error_from_json({**error_to_json(error), "type": "Unknown"})) is errors.WanError
    assert error_from_json(error_to_json(errors.WanError("No."))).max_cost_usd is None


@pytest.mark.parametrize(("amount", "billionths"), [("0.03", 30_000_000), ("0.0000000001", 1), ("0", 0), ("1", 10**9)])
def test_dollars_are_counted_in_billionths_rounded_up(amount: str, billionths: int) -> None:
    assert to_nano(Decimal(amount)) == billionths


def test_billionths_are_shown_as_dollars() -> None:
    assert [str(to_usd(nano)) for nano in (30_000_000, 0, 1_500_000, 1)] == ["0.030", "0.000", "0.0015", "1E-9"]


def test_memory_counts_each_picture_once_and_forgets_what_is_deleted() -> None:
    blobs = MemoryBlobs(cap=10)
    for _ in range(9):
        blobs.write("a", b"12345")
    held = blobs.write("b", b"12345")
    assert (blobs.read("a"), blobs.pin("b"), blobs.pin("x")) == (b"12345", held, None)
    blobs.delete("a")
    blobs.delete("nothing")
    assert blobs.read("a") is None
    blobs.write("c", b"12345")
    assert (blobs.read("b"), blobs.read("c")) == (b"12345", b"12345")
    blobs.keep_raw("x", b"raw")
    assert blobs.raw("x") == b"raw"
    blobs.drop_raw("x")
    blobs.drop_raw("x")
    assert blobs.raw("x") is None


def test_a_folder_keeps_raw_answers_private_and_sweeps_old_orphans(tmp_path: Path) -> None:
    for folder in ("raw", "blobs/ab"):
        (tmp_path / folder).mkdir(parents=True)
        for name, age in (("old", ORPHAN_AGE + 60), ("new", ORPHAN_AGE - 60)):
            orphan = tmp_path / folder / f".{name}.part"
            orphan.write_bytes(b"half")
            os.utime(orphan, (time.time() - age,) * 2)
    blobs = DiskBlobs(tmp_path)
    blobs.keep_raw("x", b"raw")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.part")) == [
        "blobs/ab/.new.part",
        "raw/.new.part",
    ]
    (kept,) = (path for path in (tmp_path / "raw").iterdir() if not path.name.endswith(".part"))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert blobs.raw("x") == b"raw"
    assert blobs.raw("y") is None
    blobs.drop_raw("x")
    blobs.drop_raw("x")
    assert blobs.raw("x") is None
    assert blobs.pin("x") is None


def test_a_blob_that_was_cut_is_written_anew(tmp_path: Path) -> None:
    store = WanStore(tmp_path)
    image = store.add(png())
    (tmp_path / "blobs" / image.sha256[:2] / image.sha256).write_bytes(b"cut")
    assert store.add(png()).read() == png()
    assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700


def test_a_disk_without_room_is_told_before_paying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = type("Usage", (), {"free": 2 * 64 * 2**20})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    DiskBlobs(tmp_path).ensure_space(2)
    with pytest.raises(errors.StoreError, match="disk is full"):
        DiskBlobs(tmp_path).ensure_space(3)
    assert list((tmp_path / "raw").iterdir()) == []


def test_an_owner_is_told_from_the_dead_by_its_lock(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "store.lock")
    name = owner.name
    assert owner.start(("s", "one"))
    assert owner.name == name
    assert owner.is_running(("s", "one"))
    assert not owner.is_running(("s", "two"))
    assert stat.S_IMODE((tmp_path / "store.lock").stat().st_mode) == 0o600
    child = os.fork()
    if child == 0:  # pragma: no cover  the child
        is_seen = owner.is_running(("s", "one")) and not owner.start(("s", "one"))
        os._exit(0 if is_seen and owner.start(("s", "two")) and owner.name != name else 1)
    assert os.waitpid(child, 0)[1] == 0
    other = Owner(tmp_path / "store.lock")
    assert other.is_running(("s", "one"))
    assert not other.start(("s", "one"))
    assert not other.is_running(("s", "two"))
    owner.end(("s", "one"))
    assert other.start(("s", "one"))
    assert not owner.start(("s", "one"))
    other.close()
    assert owner.start(("s", "one"))


def test_a_budget_shows_its_limits() -> None:
    budget = Budget(max_usd="1.5", max_images=3, name="team", window=timedelta(hours=1))
    assert repr(budget) == (
        "Budget(max_usd=Decimal('1.5'), max_images=3, name='team', window=datetime.timedelta(seconds=3600))"
    )
    assert budget.limit() == Limit("team", 1_500_000_000, 3, 3600.0)
    assert Budget(max_images=1).limit() is None
    assert Budget(max_images=1, name="x").limit() == Limit("x", None, 1, None)
    assert (budget.spent_usd, budget.held_usd, budget.remaining_usd) == (Decimal(0), Decimal(0), Decimal("1.5"))


# What people read, word for word


@pytest.mark.parametrize(
    ("source", "text", "reason"),
    [
        (
            "https://example.com/a.png",
            "An image to store must be bytes, a Path, a data URI, a Pillow image or a GeneratedImage.",
            "refused",
        ),
        (
            Path("/nowhere/a.png"),
            "/nowhere/a.png can't be stored: there is no such file. Check its path.",
            "unreadable",
        ),
        (
            b"hello",
            "This can't be stored: it is something else, not a PNG, JPEG, WebP, BMP, GIF, AVIF or HEIC image. "
            "Pass an image file.",
            "unreadable",
        ),
        (
            "data:image/png;base64,!",
            "This can't be stored: it is not valid base64. Encode the whole file anew.",
            "unreadable",
        ),
        (
            "DATA:text/html,x",
            "This can't be stored: it is not a base64 data URI. Pass data:image/png;base64,... with every byte.",
            "unreadable",
        ),
    ],
)
def test_a_source_that_can_not_be_stored_is_told_in_these_words(source: Any, text: str, reason: str) -> None:
    with pytest.raises(errors.ImageReferenceError) as caught:
        WanStore().add(source)
    assert (str(caught.value), caught.value.reason) == (text, reason)


def test_the_warning_of_a_full_memory_says_what_to_do_and_comes_once() -> None:
    blobs = MemoryBlobs(cap=2 * 2**20)
    for name in "01":
        blobs.write(name, b"x" * 2**20)
    with pytest.warns(UserWarning, match="oldest") as caught:
        blobs.write("2", b"x" * 2**20)
    blobs.write("3", b"x" * 2**20)
    assert [str(warning.message) for warning in caught] == [
        "The in-memory image store is full (2 MiB): the oldest images are dropped now. "
        "Use WanStore(folder) to keep them."
    ]
    assert [blobs.read(str(number)) is not None for number in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("model", "text", "advice"),
    [
        (
            "gemini-2.5-flash-image",
            "'gemini-2.5-flash-image' is not a Wan model: Gemini image models use POST "
            "/v1beta/models/{model}:generateContent, which this package does not call. Nothing was charged. "
            "Use one of wan2.7-image, wan2.7-image-pro.",
            "This tool makes images with wan2.7-image, wan2.7-image-pro only.",
        ),
        (
            "wan9",
            "The model 'wan9' is not known, and neither is its price. Nothing was charged. "
            "Use one of wan2.7-image, wan2.7-image-pro, or pass its price: prices={'wan9': Decimal('0.03')}, "
            "in dollars an image.",
            "Use one of these models: wan2.7-image, wan2.7-image-pro.",
        ),
    ],
)
def test_an_unknown_price_is_told_in_these_words(model: str, text: str, advice: str) -> None:
    with pytest.raises(errors.InvalidImageRequestError) as caught:
        price_usd(model)
    assert (str(caught.value), caught.value.advice) == (text, advice)


def test_a_full_budget_and_a_pickled_one_are_told_in_these_words() -> None:
    with pytest.raises(errors.BudgetExceededError) as caught:
        Budget(max_images=0).reserve(Decimal("0.03"), 1)
    assert str(caught.value) == (
        "The budget does not allow this call, which makes 1 image (limit 0: 0 made or reserved, 0 left). "
        "Nothing was charged. Raise the budget."
    )
    with pytest.raises(
        TypeError, match=r"^a Budget counts in this process and can't be pickled; build it where it is used$"
    ):
        Budget(max_images=0).__reduce__()


def test_a_named_budget_is_read_in_the_default_store_until_it_is_used() -> None:
    budget = Budget(max_usd=1, name="team")
    WanStore.default()._storage.ledger.claim(claim(limit=budget.limit()))
    assert budget.held_usd == Decimal("0.06")
    budget.count_in(Ledger(Database(None), None), SERVICE)
    assert budget.held_usd == 0


def test_stores_show_what_they_are(tmp_path: Path) -> None:
    assert repr(WanStore()) == "WanStore()"
    assert repr(WanStore().scoped("anna")) == "WanStore().scoped('anna')"
    assert repr(WanStore(tmp_path)) == f"WanStore({str(tmp_path)!r})"
    with pytest.raises(TypeError, match=r"^an in-memory WanStore lives in its process and can't be pickled; use "):
        WanStore().__reduce__()
