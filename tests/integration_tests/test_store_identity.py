"""A ledger that is not the one that it was, or not all of it: noticed before anything is sent."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import Budget, ImageRequest, WanConfigurationError, WanStore, errors
from langchain_wan._storage.operations import Limit
from langchain_wan._storage.owners import forget_owners
from tests.support.fault_server import KEY, FaultServer, answer, drop, reply
from tests.support.faults import is_killed_at
from tests.support.images import data_uri, png
from tests.support.processes import Program, run_program
from tests.support.services import Generate, build_client

REQUEST = ImageRequest(prompt="a fox", operation_id="mine")


def truncate(folder: Path) -> None:
    os.truncate(folder / "ledger.sqlite3", 0)


def delete_ledger(folder: Path) -> None:
    for path in folder.glob("ledger.sqlite3*"):
        path.unlink()


def recreate_ledger(folder: Path) -> None:
    delete_ledger(folder)
    other = WanStore(folder.with_name("other"))
    other.history()
    del other
    for path in folder.with_name("other").glob("ledger.sqlite3*"):
        shutil.copy(path, folder / path.name)


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def move_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replace_folder(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    shutil.copytree(folder.with_name("moved"), folder)


ACCIDENTS = [truncate, delete_ledger, recreate_ledger, delete_folder, move_folder, replace_folder]


@pytest.mark.parametrize("accident", ACCIDENTS, ids=lambda accident: accident.__name__)
def test_a_program_notices_what_became_of_its_store_and_sends_nothing(
    accident: Callable[[Path], None], generate: Generate, tmp_path: Path
) -> None:
    with FaultServer(drop) as server:
        client = build_client(server, store=WanStore(tmp_path / "store"))
        with pytest.raises(errors.PaymentUncertainError):
            generate(client, REQUEST)
        accident(tmp_path / "store")
        for _ in range(2):
            with pytest.raises(errors.StoreError, match="ledger"):
                generate(client, REQUEST)
        assert len(server.posts) == 1


@pytest.mark.parametrize("accident", [truncate, delete_ledger, recreate_ledger], ids=lambda accident: accident.__name__)
def test_the_next_program_notices_a_ledger_that_was_begun_anew_beside_its_images(
    accident: Callable[[Path], None], tmp_path: Path
) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        build_client(server, store=WanStore(tmp_path / "store")).generate(REQUEST)
        forget_owners()
        accident(tmp_path / "store")
        for _ in range(2):
            with pytest.raises(errors.StoreError, match="ledger"):
                build_client(server, store=WanStore(tmp_path / "store")).generate(REQUEST)
        assert len(server.posts) == 1


def test_an_older_copy_of_a_ledger_is_noticed_and_can_be_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with FaultServer(reply(200, answer(data_uri()))) as server:
        build_client(server, store=WanStore(folder)).generate("a wolf")
        forget_owners()
        WanStore(folder).backup(tmp_path / "older")
        build_client(server, store=WanStore(folder)).generate(REQUEST)
        delete_ledger(folder)
        shutil.copy(tmp_path / "older" / "ledger.sqlite3", folder / "ledger.sqlite3")
        with pytest.raises(errors.StoreError, match=r"has lost its \d+ newest changes.*delete store.id in it"):
            WanStore(folder).history()
        (folder / "store.id").unlink()
        assert [entry.prompt for entry in WanStore(folder).history()] == ["a wolf"]
        assert len(server.posts) == 2


def test_newest_changes_that_were_lost_with_the_write_ahead_log_are_noticed(tmp_path: Path) -> None:
    with FaultServer() as server:
        assert is_killed_at(7, server.url, KEY, tmp_path)  # it leaves its log behind
        (tmp_path / "ledger.sqlite3-wal").unlink()
        with pytest.raises(errors.StoreError, match="ledger"):
            build_client(server, store=WanStore(tmp_path)).generate(REQUEST)
        assert len(server.posts) <= 1


def test_a_folder_that_is_back_in_its_place_works_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = WanStore(folder)
    image = store.add(png())
    folder.rename(tmp_path / "moved")
    with pytest.raises(errors.StoreError, match="moved or deleted"):
        store.get(image.id)
    (tmp_path / "moved").rename(folder)
    assert store.get(image.id) == image


def test_images_are_not_stored_in_a_folder_that_lost_its_ledger(tmp_path: Path) -> None:
    store = WanStore(tmp_path / "store")
    store.add(png())
    move_folder(tmp_path / "store")
    with pytest.raises(errors.StoreError, match="moved or deleted"):
        store.add(png("blue"))
    assert not (tmp_path / "store").exists()


def test_a_damaged_image_is_replaced_when_its_bytes_are_stored_again(tmp_path: Path) -> None:
    store = WanStore(tmp_path)
    image = store.add(png())
    path = tmp_path / "blobs" / image.sha256[:2] / image.sha256
    path.write_bytes(bytes(len(png())))
    assert store.add(png()) == image
    assert path.read_bytes() == png()


def test_a_deletion_between_the_bytes_and_their_name_takes_no_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = WanStore(tmp_path)
    image = store.add(png())
    catalog = store._storage.catalog
    add_image = catalog.add_image

    def delete_first(*values: Any) -> str:
        store.delete(image.id)
        return add_image(*values)

    monkeypatch.setattr(catalog, "add_image", delete_first)
    assert store.add(png()).id == image.id
    assert store.read(image.sha256) == png()


# Copies and backups

SPENDER = """
import sys, time
from langchain_wan import Budget, WanClient, WanStore, errors
url, key, folder = sys.argv[1:4]
client = WanClient(base_url=url, api_key=key, store=WanStore(folder), budget=Budget(max_usd="0.30", name="team"))
for number in range(10):
    try:
        client.generate(f"{folder} {number} {time.time_ns()}")
    except errors.BudgetExceededError:
        break
"""


def test_processes_that_copy_their_store_all_the_time_still_share_one_budget(tmp_path: Path) -> None:
    copier = (
        "import shutil, sys, threading\n"
        "def copy():\n"
        "    number = 0\n"
        "    while True:\n"
        "        number += 1\n"
        "        try:\n"
        "            shutil.copytree(sys.argv[3], f'{sys.argv[4]}/{number}')\n"
        "            shutil.rmtree(f'{sys.argv[4]}/{number}')\n"
        "        except (shutil.Error, OSError):\n"
        "            pass\n"
        "threading.Thread(target=copy, daemon=True).start()\n"
    ) + SPENDER
    folder = tmp_path / "store"
    WanStore(folder).history()
    with FaultServer(reply(200, answer(data_uri()))) as server:
        programs = []
        for number in range(3):
            (tmp_path / f"copies{number}").mkdir()
            programs.append(Program(copier, server.url, KEY, folder, tmp_path / f"copies{number}"))
        for program in programs:
            with program:
                ended = program.wait()
                assert ended.returncode == 0, ended.stderr
        assert len(server.posts) == 10
    assert WanStore(folder)._storage.ledger.read_spending(Limit("team")) == (300_000_000, 0, 10)


COPIES_ITSELF = """
import shutil, sys
from langchain_wan import ImageRequest, WanClient, WanStore
url, key, folder, copy = sys.argv[1:5]
def copied(event):
    if event["stage"] == "submitted":
        shutil.copytree(folder, copy)
WanClient(base_url=url, api_key=key, store=WanStore(folder), timeout=60).generate(
    ImageRequest(prompt="a fox", operation_id="mine"), on_event=copied
)
"""


def test_a_process_that_copied_its_store_while_a_call_is_out_is_not_taken_for_dead(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with FaultServer(reply(200, answer(data_uri()), after=3)) as server:
        with Program(COPIES_ITSELF, server.url, KEY, folder, tmp_path / "copy") as program:
            while not server.posts:
                threading.Event().wait(0.05)
            result = build_client(server, store=WanStore(folder)).generate(REQUEST)
            assert program.wait().returncode == 0
        assert result.replayed
        assert len(server.posts) == 1


def test_a_backup_made_while_programs_write_is_a_whole_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with FaultServer(reply(200, answer(data_uri()))) as server:
        client = build_client(server, store=WanStore(folder))
        client.generate("the first")
        with Program(SPENDER, server.url, KEY, folder) as program:
            for number in range(5):
                client.store.backup(tmp_path / f"copy{number}")
            program.wait()
        for number in range(5):
            copy = WanStore(tmp_path / f"copy{number}")
            assert copy.history()
            for entry in copy.history():
                assert entry.state != "partial" or build_client(server, store=copy).resume()
                for name in entry.images:
                    image = copy.get(name)
                    assert image is not None
                    assert image.read() == png()
        assert len(server.posts) == 11


@pytest.mark.parametrize("location", ["memory", "disk"])
async def test_a_backup_is_a_store_with_all_scopes_names_and_answers(location: str, tmp_path: Path) -> None:
    store = WanStore() if location == "memory" else WanStore(tmp_path / "store")
    with FaultServer(drop, reply(200, answer(data_uri()))) as server:
        client = build_client(server, store=store)
        with pytest.raises(errors.PaymentUncertainError):
            await client.agenerate(REQUEST)
        store._storage.blobs.keep_raw(f"{server.url} mine", answer(data_uri("blue")))
        image = store.add(png(), scope="anna")
        await store.scoped("anna").abackup(tmp_path / "copy")
        copy = WanStore(tmp_path / "copy")
        assert copy.scoped("anna").get(image.id) == image
        (result,) = build_client(server, store=copy).resume()
        assert result[0].read() == png("blue")
        assert len(server.posts) == 1
    assert modes(tmp_path / "copy") <= {0o700, 0o600}
    with pytest.raises(errors.StoreError, match="exists already"):
        store.backup(tmp_path / "copy")
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StoreError):
        store.backup(tmp_path / "file" / "copy")
    assert sorted(path.name for path in list_folder(tmp_path) if path.name.startswith(".")) == []


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def list_folder(folder: Path) -> list[Path]:
    return list(folder.iterdir())


# Forks

FORKS = """
import os, sys, threading
from langchain_wan import WanStore
store = WanStore(sys.argv[1])
store.history()
ends = threading.Event()
def work(number):
    from langchain_wan._storage.operations import Claim
    ledger = WanStore(sys.argv[1])._storage.ledger
    request = {"model": "m", "prompt": "p", "n": 1, "parents": [], "metadata": {}}
    count = 0
    while not ends.is_set():
        count += 1
        ledger.claim(Claim("s", f"{number} {count}", "", f"{number} {count}", 1, request))
        ledger.operations(limit=5)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
import signal
for _ in range(40):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        WanStore(sys.argv[1]).history(3)
        store.history(3)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        ends.set()
        print("hung")
        break
ends.set()
for thread in threads:
    thread.join()
"""


def test_a_child_forked_in_the_middle_of_transactions_can_use_the_store(tmp_path: Path) -> None:
    ended = run_program(FORKS, tmp_path)
    assert (ended.stdout, ended.stderr) == ("", "")


FORKED_IN_A_TRANSACTION = """
import os, sys
from langchain_wan import WanStore, errors
store = WanStore(sys.argv[1])
store.history()
child = None
try:
    with store._storage.ledger.transaction() as connection:
        connection.execute("INSERT INTO conversations VALUES ('a', 0, '[]')")
        child = os.fork()
except errors.StoreError as error:
    print("child" if child == 0 else "parent", error.what, flush=True)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
with store._storage.ledger.transaction() as connection:
    print(connection.execute("SELECT thread FROM conversations").fetchall())
"""


def test_what_a_thread_began_before_it_forked_is_written_by_the_parent_only(tmp_path: Path) -> None:
    ended = run_program(FORKED_IN_A_TRANSACTION, tmp_path)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "child This process was forked while it used the image store.",
        "[('a',)]",
    ]


@pytest.mark.parametrize("named", [True, False], ids=["named, in memory", "unnamed"])
def test_a_budget_that_a_forked_process_would_count_anew_is_refused(named: bool) -> None:
    budget = Budget(max_usd="0.05", name="team") if named else Budget(max_usd="0.05")
    with FaultServer(reply(200, answer(data_uri()))) as server:
        client = build_client(server, store=WanStore(), budget=budget)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:  # pragma: no cover  the child
                try:
                    client.generate("a fox")
                except WanConfigurationError as error:
                    os._exit(3 if "fork" in str(error) else 4)
                os._exit(0)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [3, 3, 3]
        assert server.posts == []
        client.generate("a fox")
        assert len(server.posts) == 1


# Locks


def test_a_process_keeps_no_descriptor_and_no_file_for_each_folder_that_it_ever_used(tmp_path: Path) -> None:
    def count_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not list descriptors")
    with FaultServer(reply(200, answer(data_uri()))) as server:
        build_client(server, store=WanStore(tmp_path / "first")).generate("a fox")
        gc.collect()
        before = count_open()
        for number in range(20):
            build_client(server, store=WanStore(tmp_path / f"{number}")).generate("a fox")
        gc.collect()
        assert count_open() <= before + 2  # sockets that are closing
        for _ in range(3):
            ended = run_program(SPENDER, server.url, KEY, tmp_path / "first")
            assert ended.returncode == 0, ended.stderr
        names = {path.name for path in (tmp_path / "first").iterdir() if not path.name.startswith("ledger.sqlite3")}
        assert names == {"blobs", "raw", "store.id", "store.lock"}
        assert (tmp_path / "first" / "store.lock").stat().st_size == 0
