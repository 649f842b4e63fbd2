"""Own mistakes are told when an object is made, and making one asks the file system for nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from langchain_wan import WanClient, WanConfigurationError, WanImageGenerator, WanImageTool, WanStore, errors, price_usd
from tests.support.images import png

KINDS: list[Callable[..., Any]] = [WanClient, WanImageGenerator, WanImageTool]


@pytest.mark.parametrize("make", KINDS)
def test_an_unknown_model_is_refused_at_once_with_the_name_that_was_meant(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"'wan2\.7-imag' is not known.*Did you mean 'wan2\.7-image'\?"):
        make(model="wan2.7-imag")
    assert make(model="my-wan", prices={"my-wan": Decimal("0.01")}).model == "my-wan"


def test_an_unknown_model_among_those_of_a_tool_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'wan2\.7-image-pro'\?"):
        WanImageTool(models=("wan2.7-image", "Wan2.7-image-prO"))
    with pytest.raises(ValueError, match="not a Wan model"):
        WanImageTool(models=("seedream-4-5-251128",))


def test_a_request_for_an_unknown_model_says_what_was_meant() -> None:
    with pytest.raises(errors.InvalidImageRequestError, match=r"Did you mean 'wan2\.7-image-pro'\?"):
        price_usd("wan-2.7-image-pro")


@pytest.mark.parametrize("folder", ["images", Path("images"), Path(os.sep) / "images"])
def test_making_a_store_and_a_tool_blocks_no_event_loop(folder: str | Path) -> None:
    async def make() -> WanImageTool:
        blockbuster = BlockBuster()
        blockbuster.activate()
        try:
            return WanImageTool(store=WanStore(folder))
        finally:
            blockbuster.deactivate()

    assert asyncio.run(make()).store.location == Path(folder).absolute()


def test_a_store_stays_in_its_folder_after_a_change_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = WanStore("images")
    image = store.add(png())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.location == tmp_path / "images"
    assert store.get(image.id) == image


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u3000", None, 5, "\ud800"])
def test_a_scope_without_a_name_is_refused(name: Any) -> None:
    """A view without a scope knows everything."""
    store = WanStore()
    store.add(png(), scope="ben")
    with pytest.raises(WanConfigurationError, match="A scope must be a name"):
        store.scoped(name)
    if name is not None:
        with pytest.raises(WanConfigurationError, match="A scope must be a name"):
            store.add(png(), scope=name)


@pytest.mark.parametrize("ending", ["/", os.sep])
def test_a_path_that_ends_with_a_slash_is_a_folder(tmp_path: Path, ending: str) -> None:
    image = WanStore().add(png())
    saved = image.save(f"{tmp_path}/new/folder{ending}")
    assert saved == tmp_path / "new" / "folder" / f"{image.id}.png"
    assert asyncio.run(image.asave(f"{tmp_path}/other{ending}")).read_bytes() == png()
