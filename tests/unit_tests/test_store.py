from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from langchain_wan import WanStore
from langchain_wan._storage.blobs import MemoryBlobs
from langchain_wan.errors import ImageReferenceError, StoreError
from tests.support.images import png
from tests.support.processes import run_program


@pytest.fixture(params=["memory", "disk"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], WanStore]:
    return WanStore if request.param == "memory" else lambda: WanStore(tmp_path / "images")


def test_an_image_comes_back_by_its_id(make_store: Callable[[], WanStore]) -> None:
    store = make_store()
    added = store.add(png())
    found = store.get(added.id)
    assert found == added
    assert found is not None
    assert found.read() == png()
    assert (found.width, found.height, found.mime_type, found.size_bytes) == (300, 300, "image/png", len(png()))
    assert asyncio.run(store.aget(added.id)) == added
    assert asyncio.run(found.aread()) == png()


def test_an_unknown_id_is_none(make_store: Callable[[], WanStore]) -> None:
    store = make_store()
    for name in ("img_0000000000000", "img_x", "../../etc/passwd", "", "IMG_0000000000000"):
        assert store.get(name) is None


def test_equal_bytes_have_one_id(make_store: Callable[[], WanStore]) -> None:
    store = make_store()
    assert store.add(png()).id == store.add(png()).id != store.add(png("blue")).id


def test_every_kind_of_source_can_be_added(make_store: Callable[[], WanStore], tmp_path: Path) -> None:
    store = make_store()
    image = store.add(png())
    (tmp_path / "a.png").write_bytes(png())
    for source in (tmp_path / "a.png", bytearray(png()), memoryview(png()), image.data_uri, image):
        assert store.add(source).id == image.id
    drawn = store.add(Image.new("RGB", (300, 260), "red"))
    assert drawn.to_pil().getpixel((0, 0)) == (255, 0, 0)
    assert asyncio.run(store.aadd(png())).id == image.id


@pytest.mark.parametrize(
    "source", [b"<html>", "https://example.com/a.png", "/etc/passwd", Path("/nowhere.png"), b"", 7]
)
def test_what_is_no_image_is_refused(source: object, make_store: Callable[[], WanStore]) -> None:
    with pytest.raises(ImageReferenceError):
        make_store().add(source)  # type: ignore[arg-type]  # wrong on purpose


def test_a_scope_knows_only_its_own_images(make_store: Callable[[], WanStore]) -> None:
    store = make_store()
    hers = store.scoped("anna").add(png())
    assert store.scoped("anna").get(hers.id) == hers
    assert store.scoped("ben").get(hers.id) is None
    assert store.get(hers.id) == hers
    store.add(png(), scope="ben")
    assert store.scoped("ben").get(hers.id) == hers


def test_constructors_touch_no_disk(tmp_path: Path) -> None:
    WanStore(tmp_path / "images")
    assert list(tmp_path.iterdir()) == []


def test_files_are_whole_private_and_named_by_their_hash(tmp_path: Path) -> None:
    store = WanStore(tmp_path / "images")
    image = store.add(png())
    blob = tmp_path / "images" / "blobs" / image.sha256[:2] / image.sha256
    assert blob.read_bytes() == png()
    for file in (blob, tmp_path / "images" / "ledger.sqlite3"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list((tmp_path / "images").rglob("*.part"))


def test_an_id_works_in_the_next_process(tmp_path: Path) -> None:
    image = WanStore(tmp_path / "images").add(png())
    path = str(tmp_path / "images")
    code = f"from langchain_wan import WanStore; print(len(WanStore({path!r}).get({image.id!r}).read()))"
    assert int(run_program(code).stdout) == len(png())


def test_an_id_works_in_a_forked_process(make_store: Callable[[], WanStore]) -> None:
    store = make_store()
    image = store.add(png())
    child = os.fork()
    if child == 0:  # pragma: no cover  the child
        found = store.get(image.id)
        os._exit(0 if found is not None and found.read() == png() and store.add(png("blue")).read() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get(image.id) == image


def test_a_damaged_file_is_never_returned_as_an_image(tmp_path: Path) -> None:
    store = WanStore(tmp_path / "images")
    image = store.add(png())
    blob = tmp_path / "images" / "blobs" / image.sha256[:2] / image.sha256
    blob.write_bytes(png("blue"))
    with pytest.raises(StoreError, match="damaged"):
        image.read()
    assert not blob.exists()


def test_bytes_that_are_gone_are_said_to_be_gone(tmp_path: Path) -> None:
    store = WanStore(tmp_path / "images")
    image = store.add(png())
    (tmp_path / "images" / "blobs" / image.sha256[:2] / image.sha256).unlink()
    with pytest.raises(StoreError, match=image.id):
        image.read()
    assert image._repr_png_() is None


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        WanStore(tmp_path / "file" / "images").add(png())


def test_a_ledger_of_a_newer_version_or_of_garbage_is_refused(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        WanStore(tmp_path).get("img_0000000000000")
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="ledger"):
        WanStore(tmp_path).get("img_0000000000000")


def test_the_oldest_go_from_memory_with_a_warning_except_what_is_held() -> None:
    blobs = MemoryBlobs(cap=100)
    held = blobs.write("a" * 64, b"x" * 60)
    with pytest.warns(UserWarning, match="oldest images are dropped"):
        blobs.write("b" * 64, b"y" * 60)
    assert blobs.read("a" * 64) == b"x" * 60
    del held
    gc.collect()
    assert blobs.read("a" * 64) is None
    assert blobs.read("b" * 64) == b"y" * 60


def test_a_living_image_keeps_its_bytes_beyond_the_cap() -> None:
    store = WanStore()
    store._storage._parts.blobs = MemoryBlobs(cap=10)
    first = store.add(png())
    with pytest.warns(UserWarning, match="oldest images are dropped"):
        store.add(png("blue"))
    assert first.read() == png()


def test_a_store_is_never_copied_and_pickles_only_where_it_can_be_found_again(tmp_path: Path) -> None:
    disk = WanStore(tmp_path)
    assert copy.deepcopy(disk) is disk
    assert pickle.loads(pickle.dumps(disk)).location == disk.location  # noqa: S301  our own
    assert pickle.loads(pickle.dumps(disk.scoped("anna"))).scope == "anna"  # noqa: S301  our own
    assert pickle.loads(pickle.dumps(WanStore.default())) is WanStore.default()  # noqa: S301  our own
    with pytest.raises(TypeError, match="in-memory"):
        pickle.dumps(WanStore())
    assert repr(disk.scoped("anna")) == f"WanStore('{tmp_path}').scoped('anna')"


def test_images_of_a_pickled_result_find_their_bytes_in_the_default_store() -> None:
    image = WanStore.default().add(png())
    assert pickle.loads(pickle.dumps(image)).read() == png()  # noqa: S301  our own
