"""A store that another version, another process or another system wrote."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import threading
import warnings
from decimal import Decimal
from pathlib import Path

import pytest

from langchain_wan import Budget, ImageRequest, WanClient, WanConfigurationError, WanStore, errors
from langchain_wan._call.fingerprint import compute_fingerprint
from langchain_wan._storage.migrations import FORMAT
from langchain_wan._storage.money import to_nano
from langchain_wan._storage.operations import Claim, Limit
from langchain_wan._storage.owners import forget_owners
from langchain_wan.sandbox import Sandbox
from tests.support.processes import Program, run_program

SAMPLE = Path(__file__).parents[1] / "samples" / "store_format_1"
OWNER = "d2e16c439f814c2a8cff71027a5e8a03"
SERVICE = "http://127.0.0.1:18377/v1"  # the sandbox that the sample was written with


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder as the first format wrote it: two images, an edit, and what four kinds of accidents left."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "store"))


def claim(name: str, *, limit: Limit | None = None, fingerprint: str = "same") -> Claim:
    request = {"model": "wan2.7-image", "prompt": "a fox", "n": 1, "parents": [], "metadata": {}}
    return Claim(SERVICE, name, "", fingerprint, to_nano(Decimal("0.03")), request, limit=limit)


def test_a_store_of_format_1_opens_with_its_images_and_its_history(old: Path) -> None:
    store = WanStore(old)
    entries = {entry.operation_id: entry for entry in store.history()}
    assert entries["op-done"].state == entries["op-edit"].state == "done"
    (fox,) = entries["op-done"].images
    image = store.get(fox)
    assert image is not None
    assert len(image.read()) == image.size_bytes
    assert entries["op-edit"].parents == [fox]
    assert store.lineage(entries["op-edit"].images[0]).parents[0].id == fox
    with sqlite3.connect(old / "ledger.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    connection.close()


def test_its_open_operations_are_still_open_and_its_budget_still_holds(old: Path) -> None:
    store = WanStore(old)
    states = {entry.prompt: entry.state for entry in store.unfinished()}
    # Format 1 did not say whether a call was sent whose process died: it may have been.
    assert states == {"a lost wolf": "uncertain", "a paid bear": "partial", "a killed owl": "uncertain"}
    budget = Budget(max_usd="0.16", name="team")
    client = WanClient(base_url=SERVICE, api_key="sk-test", store=store, budget=budget)
    with pytest.raises(errors.BudgetExceededError):
        client.generate("one more than fits")
    assert (budget.spent_usd, budget.held_usd) == (Decimal("0.09"), Decimal("0.06"))
    with pytest.raises(errors.PaymentUncertainError) as raised:
        client.generate(ImageRequest(prompt="a lost wolf"))
    assert raised.value.charged == "maybe"
    assert "It may have been charged ($0.030)." in str(raised.value)
    store.resolve("op-started", "not_charged")
    assert budget.held_usd == Decimal("0.03")


def test_the_fingerprint_of_a_request_is_that_of_format_1(old: Path) -> None:
    with sqlite3.connect(old / "ledger.sqlite3") as connection:
        (stored,) = connection.execute("SELECT fingerprint FROM operations WHERE id = 'op-done'").fetchone()
    connection.close()
    assert compute_fingerprint(ImageRequest(prompt="a red fox", size="1K"), "wan2.7-image") == stored


OLD_SERVICE = "http://127.0.0.1:18378/v1"


@pytest.fixture
def third(tmp_path: Path) -> Path:
    """A folder as format 3 wrote it: an edit, lost calls, answers that nobody read, and a service spelled oddly."""
    return Path(shutil.copytree(SAMPLE.parent / "store_format_3", tmp_path / "store"))


def test_a_store_of_format_3_gives_each_service_its_one_name_and_keeps_its_money(third: Path) -> None:
    store = WanStore(third)
    services = {entry.operation_id: entry.service for entry in store.history()}
    assert services == {
        **dict.fromkeys(("op-done", "op-edit", "op-lost", "op-answered"), OLD_SERVICE),
        "op-spelled": "https://api.aisa.one/v1",
    }
    assert store._storage.blobs.raw("https://api.aisa.one/v1 op-spelled") is not None
    assert not (third / "owners").exists()
    limit = Limit("team")
    assert store._storage.ledger.read_spending(limit) == (60_000_000, 90_000_000, 5)
    assert store._storage.ledger.read_spending(limit, "https://api.aisa.one/v1") == (0, 30_000_000, 1)
    assert store._storage.catalog.uploads("t") == [(2, "d", "img_0000000000000", True)]
    with sqlite3.connect(third / "ledger.sqlite3") as connection:
        assert {len(digest) for (digest,) in connection.execute("SELECT digest FROM operations")} == {16}
    connection.close()
    (uuid,) = (third / "store.id").read_text().split()[:1]
    assert len(uuid) == 32


def test_two_processes_bring_a_store_to_the_newest_format_at_once(old: Path) -> None:
    program = "import sys; from langchain_wan import WanStore; print(len(WanStore(sys.argv[1]).history()))"
    with Program(program, old) as first, Program(program, old) as second:
        assert [run.wait().stdout.strip() for run in (first, second)] == ["5", "5"]


def test_a_step_that_fails_leaves_the_store_as_it_was(old: Path) -> None:
    with sqlite3.connect(old / "ledger.sqlite3") as connection:
        connection.execute("CREATE TABLE operations_open (x)")  # in the way of the last statement
    connection.close()
    with pytest.raises(errors.StoreError, match="could not be used"):
        WanStore(old).history()
    with sqlite3.connect(old / "ledger.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM operations WHERE state = 'started'").fetchone() == (1,)
        connection.execute("DROP TABLE operations_open")
    connection.close()
    assert len(WanStore(old).history()) == 5


def test_reading_does_not_wait_for_a_process_that_writes(tmp_path: Path) -> None:
    store = WanStore(tmp_path)
    image = store.scoped("anna").add(
        Path(__file__).parents[1].joinpath("samples/store_format_1/blobs/13").iterdir().__next__()
    )
    store._storage.ledger.claim(claim("one"))
    other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert len(store.history()) == 1
        assert store.scoped("anna").get(image.id) == image
        assert store.unfinished() == []
        operation = store._storage.ledger.operation(SERVICE, "one")
        assert operation is not None
        assert store._storage.ledger.is_running(operation)
        assert store.lineage(image.id).parents == ()
        assert WanStore(tmp_path).history()[0].operation_id == "one"  # also where it is opened for the first time
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_connections_are_closed_with_the_last_user_of_a_store(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        store = WanStore(tmp_path)
        store.history()
        store._storage.ledger.claim(claim("one"))
        connection = store._storage.ledger._database._writer._open
        assert connection is not None
        del store
        gc.collect()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_an_operation_whose_process_died_before_it_sent_anything_is_simply_taken_again(tmp_path: Path) -> None:
    limit = Limit("team", max_images=1)
    WanStore(tmp_path)._storage.ledger.claim(claim("one", limit=limit))
    forget_owners()
    store = WanStore(tmp_path)
    ledger = store._storage.ledger
    assert store.unfinished() == []
    assert ledger.claim(claim("one", limit=limit)).outcome == "claimed"
    assert ledger.claim(claim("two", limit=limit)).outcome == "over_budget"
    assert ledger.read_spending(limit) == (0, to_nano(Decimal("0.03")), 1)


def test_what_a_dead_process_reserved_and_never_sent_is_free_for_others(tmp_path: Path) -> None:
    limit = Limit("team", max_images=1)
    WanStore(tmp_path)._storage.ledger.claim(claim("one", limit=limit))
    forget_owners()
    ledger = WanStore(tmp_path)._storage.ledger
    assert ledger.claim(claim("two", limit=limit, fingerprint="another")).outcome == "claimed"
    assert {operation.id: operation.state for operation in ledger.operations()} == {"one": "refused", "two": "claimed"}


def test_a_claim_that_another_process_has_taken_is_not_sent(tmp_path: Path) -> None:
    first = WanStore(tmp_path)._storage.ledger
    first.claim(claim("one"))
    forget_owners()
    second = WanStore(tmp_path)._storage.ledger
    assert second.claim(claim("one")).outcome == "claimed"
    with pytest.raises(errors.StoreError, match="another one has taken it"):
        first.begin_sending(SERVICE, "one")
    second.begin_sending(SERVICE, "one")
    operation = second.operation(SERVICE, "one")
    assert operation is not None
    assert operation.state == "sending"


def test_a_named_budget_in_two_stores_is_refused_since_neither_would_know_the_whole(tmp_path: Path) -> None:
    budget = Budget(max_usd=1, name="team")
    with Sandbox() as sandbox:

        def generate(folder: str) -> None:
            store = WanStore(tmp_path / folder)
            WanClient(base_url=sandbox.url, api_key=sandbox.api_key, store=store, budget=budget).generate("a fox")

        generate("a")
        generate("a")  # another object, the same folder
        with pytest.raises(WanConfigurationError, match="'team' is used with two stores"):
            generate("b")
        assert sandbox.bill == Decimal("0.06")
    assert budget.spent_usd == Decimal("0.06")


def test_the_default_store_is_the_folder_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WanStore.default().location is None
    monkeypatch.setattr(WanStore, "_default", None)
    monkeypatch.setenv("LANGCHAIN_WAN_STORE", str(tmp_path / "images"))
    assert WanStore.default().location == tmp_path / "images"
    assert WanClient().store is WanStore.default()


@pytest.mark.parametrize("location", ["postgresql://localhost/wan", "s3://bucket/prefix"])
def test_a_location_that_is_a_url_makes_no_folder_of_that_name(location: str) -> None:
    with pytest.raises(WanConfigurationError, match="is a URL"):
        WanStore(location)


WINDOWS = """
import os, sys, types
calls = []
class Locks:
    LK_NBLCK, LK_UNLCK = 2, 0
    held = {}
    @classmethod
    def locking(cls, descriptor, mode, length):
        name = os.stat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if mode == cls.LK_UNLCK:
            del cls.held[name]
        elif name in cls.held:
            raise OSError("locked")
        else:
            cls.held[name] = descriptor
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_UNLCK, msvcrt.locking = Locks.LK_NBLCK, Locks.LK_UNLCK, Locks.locking
from langchain_wan._storage import storage  # so that everything else is loaded before the system is another one
for name in [name for name in sys.modules if name.startswith("langchain_wan._storage") or name.endswith(".forks")]:
    del sys.modules[name]
sys.modules["msvcrt"], sys.modules["fcntl"] = msvcrt, None
del os.register_at_fork, os.fork
sys.platform = "win32"
from langchain_wan._storage import locks, owners, blobs
path = __import__("pathlib").Path(sys.argv[1])
first, second = owners.Owner(path), owners.Owner(path)
assert not second.is_running(("a", "b"))
assert first.start(("a", "b"))
assert second.is_running(("a", "b")) and not second.start(("a", "b"))
first.end(("a", "b"))
assert not second.is_running(("a", "b")) and second.start(("a", "b"))
print("works")
"""


def test_owners_and_locks_work_where_there_is_no_fcntl(tmp_path: Path) -> None:
    done = run_program(WINDOWS, tmp_path / "lock")
    assert (done.stdout, done.stderr) == ("works\n", "")


async def test_a_resume_that_fails_writes_nothing_on_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WanStore(tmp_path)
    client = WanClient(base_url="http://127.0.0.1:9/v1", api_key="sk-test", store=store)
    lost = Claim("http://127.0.0.1:9/v1", "one", "", "x", 10**7, claim("one").request)
    store._storage.ledger.claim(lost)
    store._storage.ledger.mark_idle(lost.service, "one")
    store._storage.ledger.transition(lost.service, "one", "partial", cost_nano=10**7)
    threads: list[str] = []
    write = store._storage.ledger.mark_resumable

    def watched(*key: str) -> None:
        threads.append(threading.current_thread().name)
        write(*key)

    monkeypatch.setattr(store._storage.ledger, "mark_resumable", watched)
    assert await client.aresume() == []  # its raw answer is gone
    assert len(threads) == 1
    assert threads[0] != threading.main_thread().name
    assert [entry.state for entry in store.unfinished()] == ["partial"]


def test_an_unnamed_budget_is_remembered_for_the_newest_scopes_only() -> None:
    from langchain_wan._call import settlement

    kept = [Budget(max_usd=1) for _ in range(3)]

    def budget_of(runtime: object) -> Budget:
        return kept[0]

    for number in range(settlement.REMEMBERED_SCOPES + 10):
        assert not settlement._replaces_a_forgotten_one(budget_of, f"scope {number}", kept[0])
    assert len(settlement._last_budgets[budget_of]) == settlement.REMEMBERED_SCOPES
    assert not settlement._replaces_a_forgotten_one(budget_of, "gone", Budget(max_usd=1))
    gc.collect()
    assert settlement._replaces_a_forgotten_one(budget_of, "gone", kept[1])


def test_raw_answers_in_memory_have_a_cap_too() -> None:
    from langchain_wan._storage.blobs import MemoryBlobs

    blobs = MemoryBlobs(cap=10)
    blobs.keep_raw("a", b"123456")
    with pytest.warns(UserWarning, match="oldest raw answers, whose images can't be fetched any more, are dropped"):
        blobs.keep_raw("b", b"123456")
    assert (blobs.raw("a"), blobs.raw("b")) == (None, b"123456")
    blobs.keep_raw("b", b"12345678901")  # the newest is kept, however large
    assert blobs.raw("b") == b"12345678901"


def test_the_uploads_of_format_2_keep_their_numbers(tmp_path: Path) -> None:
    WanStore(tmp_path).history()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        connection.executescript(
            "DROP TABLE uploads; DROP TABLE conversations; DROP TABLE store; DROP INDEX spending_reserved;"
            "DROP INDEX images_by_digest; ALTER TABLE images DROP COLUMN sha256;"
            "ALTER TABLE operations DROP COLUMN digest;"
            "CREATE TABLE uploads (thread TEXT NOT NULL, digest TEXT NOT NULL, number INTEGER NOT NULL,"
            " place TEXT NOT NULL, PRIMARY KEY (thread, digest));"
            "INSERT INTO uploads VALUES ('t', 'd', 2, 'img_0000000000000'); PRAGMA user_version=2;"
        )
    connection.close()
    (tmp_path / "store.id").unlink()
    assert WanStore(tmp_path)._storage.catalog.uploads("t") == [(2, "d", "img_0000000000000", False)]
