"""Rows and files that are damaged: named, and no obstacle to the others; nothing is paid twice unless it was reported.

`DAMAGE_ROUNDS` says how many copies are damaged at random (`make crash`: 3,000).
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import Budget, ImageRequest, WanClient, WanConfigurationError, WanStore, errors
from langchain_wan._storage.operations import Claim
from langchain_wan._storage.owners import forget_owners
from langchain_wan.history import DEEPEST, LARGEST
from tests.support.fault_server import FaultServer, answer, drop, reply
from tests.support.faults import change_ledger, damage_a_value, damage_bytes
from tests.support.html_fragments import check_fragment
from tests.support.images import data_uri, png
from tests.support.services import build_client

ROUNDS = int(os.environ.get("DAMAGE_ROUNDS", "120"))
OPEN_PART = "data:image/png;base64,AAAADEpYTCANCocK" + "A" * 64  # JPEG XL, which nobody opens yet


@pytest.fixture(scope="module")
def service() -> Iterator[FaultServer]:
    with FaultServer(drop) as server:
        yield server


@pytest.fixture(scope="module")
def sample(service: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an operation of each kind."""
    folder = tmp_path_factory.mktemp("sample") / "store"
    with warnings.catch_warnings(action="ignore"):
        make(service, folder)
    return folder


def make(service: FaultServer, folder: Path) -> None:
    client = connect(service, folder)
    service._script = [
        reply(200, answer(data_uri("red"))),
        reply(200, answer(data_uri("blue"))),
        reply(200, answer(data_uri("green"), OPEN_PART)),
        reply(400, b'{"error": {"code": "invalid_parameter_error", "message": "no"}}'),
        drop,
    ]
    fox = client.generate(ImageRequest(prompt="a fox", operation_id="done"))[0]
    client.generate(ImageRequest(prompt="at night", images=[fox.id], operation_id="edit"))
    client.generate(ImageRequest(prompt="two", n=2, operation_id="partial"))
    for prompt, name in (("no", "refused"), ("lost", "lost"), ("a wolf", None)):
        with pytest.raises(errors.WanError):
            client.generate(ImageRequest(prompt=prompt, operation_id=name))
    client.store._storage.catalog.record_uploads("t", [(1, "d", fox.id, False)])
    forget_owners()


def connect(service: FaultServer, folder: Path) -> WanClient:
    return build_client(
        service, store=WanStore(folder), budget=Budget(max_usd=1, name="team"), timeout=5, download_timeout=1
    )


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "copy"))


# One row


REPLACEMENTS = [("request", "{"), ("request", "{}"), ("state", "what"), ("result", "[]"), ("max_nano", "x"), ("n", -1)]


@pytest.mark.parametrize(("column", "value"), REPLACEMENTS[:5])
@pytest.mark.parametrize("name", ["done", "lost", "partial"])
def test_a_damaged_row_is_named_and_stops_no_other(
    name: str, column: str, value: str, service: FaultServer, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_ledger(copy, f"UPDATE operations SET {column} = ? WHERE id = ?", value, name)  # noqa: S608  fixed words
    client, before = connect(service, copy), len(service.posts)
    with caplog.at_level(logging.WARNING):
        assert len(client.store.history()) == 5
    assert f"row of operation '{name}'" in caplog.text
    listed = {entry.operation_id for entry in client.store.unfinished()}
    assert listed >= {"lost", "partial"} - {name}
    assert len(client.resume()) == (name != "partial")
    for image in {entry.operation_id: entry for entry in client.store.history()}["edit"].images:
        assert client.store.lineage(image).parents
    with pytest.raises(errors.StoreError, match=f"row of operation '{name}'"):
        client.generate(ImageRequest(prompt={"done": "a fox", "partial": "two"}.get(name, name), operation_id=name))
    with pytest.raises(errors.PaymentUncertainError):
        client.generate("a wolf")
    assert len(service.posts) == before
    with pytest.raises(errors.PaymentUncertainError):
        client.generate("something new")
    assert len(service.posts) == before + 1


def test_a_damaged_row_of_an_identical_request_keeps_it_from_being_sent(service: FaultServer, copy: Path) -> None:
    change_ledger(copy, "UPDATE operations SET request = '{' WHERE state = 'uncertain' AND id != 'lost'")
    before = len(service.posts)
    with pytest.raises(errors.StoreError, match="row of operation"):
        connect(service, copy).generate("a wolf")
    assert len(service.posts) == before


def test_damage_to_what_finds_a_row_is_reported_before_anything_is_sent(
    service: FaultServer, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_ledger(copy, "UPDATE operations SET fingerprint = 'x', state = 'refused' WHERE id = 'lost'")
    with caplog.at_level(logging.WARNING), pytest.raises(errors.WanError):
        connect(service, copy).generate("something else")
    assert "row of operation 'lost'" in caplog.text


def test_damage_to_the_facts_of_an_image_is_a_store_error_that_names_it(service: FaultServer, copy: Path) -> None:
    store = WanStore(copy)
    names = [name for entry in store.history() for name in entry.images]
    for value in ("{", "[]", "{}", '{"sha256": "../../../x"}', "null"):
        change_ledger(copy, "UPDATE images SET facts = ? WHERE id = ?", value, names[0])
        with pytest.raises(errors.StoreError, match=names[0]):
            store.get(names[0])
    assert store.get(names[1]) is not None
    assert store.prune(timedelta(seconds=-1)) == len(names) - 1


# Names that become files


def test_what_a_caller_or_a_row_names_never_becomes_another_file(service: FaultServer, copy: Path) -> None:
    target = copy.parent / "precious"
    target.write_bytes(b"mine")
    store = WanStore(copy)
    for text in ("../../precious", str(target), "..", "", "\0", "a/b", "AB" * 32, "é" * 64, "ab" * 33):
        assert store.read(text) is None
    (entry,) = (entry for entry in store.history() if entry.operation_id == "done")
    facts = {"id": entry.images[0], "mime_type": "image/png", "width": 1, "height": 1, "size_bytes": 4}
    change_ledger(copy, "UPDATE images SET facts = ?", json.dumps({**facts, "sha256": "../../precious"}))
    for act in (store.get, store.delete):
        with pytest.raises(errors.StoreError):
            act(entry.images[0])
    change_ledger(copy, "UPDATE operations SET owner = '../../precious', state = 'sending'")
    store.unfinished()
    store.history()
    assert target.read_bytes() == b"mine"


# Lineage


def claim(name: str, parents: list[str]) -> Claim:
    request = {"model": "m", "prompt": name, "n": 1, "parents": parents, "metadata": {}}
    return Claim("s", name, "", name, 1, request)


def add_edit(store: WanStore, name: str, parents: list[str]) -> None:
    ledger = store._storage.ledger
    ledger.claim(claim(name, parents))
    ledger.transition("s", name, "done", cost_nano=1, result={"images": [{"id": name}]})


def test_a_lineage_of_nine_parents_in_each_of_eight_generations_shows_each_image_once(tmp_path: Path) -> None:
    store = WanStore()
    root = store.add(png()).id
    last = [root]
    for generation in range(8):
        add_edit(store, f"g{generation}", last * 9)
        last = [f"g{generation}"]
    add_edit(store, root, last)  # a cycle as well
    lineage = store.lineage(root)
    assert len(lineage.parents[0].parents) == 9
    assert len(str(lineage).splitlines()) == 2 + 8 * 9
    check_fragment(lineage._repr_html_(), pictures=10)
    assert len(repr(lineage)) < 100


def test_a_lineage_is_cut_where_nobody_could_read_on(tmp_path: Path) -> None:
    store = WanStore()
    root = store.add(png()).id
    names = [root, *(f"e{number}" for number in range(DEEPEST + 50))]
    for name, parent in itertools.pairwise(names):
        add_edit(store, name, [parent])
    lines = str(store.lineage(root)).splitlines()
    assert len(lines) == DEEPEST + 1
    assert "(older images are not shown)" in lines[-1]
    wide = store.add(png("blue")).id
    add_edit(store, wide, [f"w{number}" for number in range(LARGEST + 50)])
    assert str(store.lineage(wide)).count("(older images are not shown)") == 51


# Copies that are damaged at random


@pytest.mark.parametrize("seed", range(8))
def test_a_store_that_is_damaged_at_random_raises_its_own_errors_and_pays_twice_for_nothing(
    seed: int, service: FaultServer, sample: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    for number in range(seed, ROUNDS, 8):
        folder = Path(shutil.copytree(sample, tmp_path / str(number)))
        done = [damage(folder, chance) for _ in range(chance.choice([1, 1, 2]))]
        caplog.clear()
        try:
            check(service, folder, caplog)
        except BaseException as error:
            raise AssertionError(f"{number}: {done}") from error
        shutil.rmtree(folder)


def damage(folder: Path, chance: random.Random) -> str:
    if chance.random() < 0.5:
        try:
            return damage_a_value(folder, chance)
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # of a row that is damaged already
            return "nothing more"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    ledger = folder / "ledger.sqlite3"
    return damage_bytes(ledger if chance.random() < 0.7 else chance.choice(files), chance)


def check(service: FaultServer, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Use a store in every way; whatever was paid may be paid again only after something was reported."""
    forget_owners()
    client, reports = connect(service, folder), list[str]()

    def act(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except (errors.WanError, WanConfigurationError) as error:
            if isinstance(error, errors.StoreError):
                reports.append(str(error))
        except ValueError as error:
            assert "No unresolved operation" in str(error)  # noqa: PT017  of `resolve`
        return None

    paid = [
        *(("a fox", "done", 1), ("at night", "edit", 1), ("lost", "lost", 1)),
        *(("a wolf", None, 1), ("two", "partial", 2)),
    ]
    with caplog.at_level(logging.WARNING), warnings.catch_warnings(action="ignore"):
        entries = act(client.store.history) or []
        images = [name for entry in entries for name in entry.images]
        act(client.store.unfinished)
        for name in images:
            act(partial(show_lineage, client, name))
            act(partial(read_image, client, name))
        for prompt, name, count in paid:
            before = len(service.posts)
            parents = images[-1:] if prompt == "at night" else []
            act(partial(client.generate, {"prompt": prompt, "n": count, "operation_id": name, "images": parents}))
            assert len(service.posts) == before or reports or caplog.records, (prompt, name)
        act(client.resume)
        act(lambda: client.budget.spent_usd)  # type: ignore[union-attr]  # it is a budget
        act(lambda: client.store.resolve("lost", "not_charged"))
        act(lambda: client.store.add(png("yellow")))
        act(lambda: client.store.backup(folder.with_name(f"{folder.name} copy")))


def show_lineage(client: WanClient, name: str) -> None:
    str(client.store.lineage(name))
    client.store.lineage(name)._repr_html_()


def read_image(client: WanClient, name: str) -> None:
    image = client.store.get(name)
    if image is not None:
        image.read()
