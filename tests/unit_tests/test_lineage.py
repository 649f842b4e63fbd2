"""How an image came to be."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from langchain_wan import ImageRequest, WanClient, WanStore
from langchain_wan.errors import StoreError
from langchain_wan.sandbox.app import Sandbox
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.html_fragments import check_fragment
from tests.support.images import data_uri, png
from tests.support.services import access


@pytest.fixture(params=["memory", "disk"])
def client(request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path: Path) -> WanClient:
    store = WanStore() if request.param == "memory" else WanStore(tmp_path)
    return WanClient(**access(sandbox, store=store))


def test_an_edit_of_a_combination_knows_all_that_it_came_from(client: WanClient) -> None:
    photo = client.store.add(png())
    fox = client.generate("a red\nfox").images[0]
    both = client.generate(ImageRequest(prompt="together", images=(fox, photo.id))).images[0]
    night = client.generate(both.edit("make it night", model="wan2.7-image-pro")).images[0]
    found = client.store.lineage(night.id)
    assert str(found).splitlines() == [
        f"{night.id} make it night (wan2.7-image-pro, $0.075)",
        f"`-- {both.id} together (wan2.7-image, $0.03)",
        f"    |-- {fox.id} a red fox (wan2.7-image, $0.03)",
        f"    `-- {photo.id} (stored)",
    ]
    assert found.parents[0].parents[1].image == photo
    assert asyncio.run(client.store.alineage(night.id)) == found
    check_fragment(found._repr_html_(), pictures=4)


def test_it_is_known_after_a_restart_and_without_a_deleted_parent(sandbox: Sandbox, tmp_path: Path) -> None:
    client = WanClient(**access(sandbox, store=WanStore(tmp_path)))
    fox = client.generate("a <b>red</b> fox").images[0]
    night = client.generate(fox.edit("make it night")).images[0]
    store = WanStore(tmp_path)
    store.delete(fox.id)
    found = store.lineage(night.id)
    assert found.parents[0].image is None
    assert found.parents[0].prompt == "a <b>red</b> fox"
    assert "not stored" in found._repr_html_()
    assert "<b>" not in found._repr_html_()


def test_an_image_costs_its_share_of_the_call_and_a_long_prompt_is_cut(client: WanClient) -> None:
    foxes = client.generate(ImageRequest(prompt="a red fox " * 60, n=3, model="wan2.7-image-pro"))
    line = client.store.lineage(foxes[1].id)
    assert line.cost_usd == Decimal("0.075")
    assert str(line) == f"{foxes[1].id} {('a red fox ' * 10)[:97]}... (wan2.7-image-pro, $0.075)"
    assert "wan2.7-image-pro, $0.075" in line._repr_html_()
    assert "1024x1024 · $0.075" in foxes._repr_html_()


def test_another_scope_knows_nothing_of_it(client: WanClient) -> None:
    fox = client.generate("a fox").images[0]
    with pytest.raises(StoreError, match=f"^No image '{fox.id}' in this store"):
        client.store.scoped("ben").lineage(fox.id)
    with pytest.raises(StoreError, match=r"^No image 'img_0000000000000' in this store"):
        client.store.lineage("img_0000000000000")


def test_an_edit_that_gives_back_its_own_bytes_has_an_end() -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        client = WanClient(base_url=server.url, api_key="x", store=WanStore())
        fox = client.generate("a fox").images[0]
        same = client.generate(fox.edit("change nothing")).images[0]
        assert same.id == fox.id
        assert str(client.store.lineage(fox.id)).count(fox.id) <= 2


def test_a_gallery_shows_what_each_image_was_made_from(client: WanClient) -> None:
    fox = client.generate({"prompt": "a fox", "n": 2})
    night = client.generate(fox.combine("together, at night"))
    html = night._repr_html_()
    check_fragment(html, pictures=3)
    assert all(image.id in html for image in (*fox.images, *night.images))
    assert "1024x1024 · $0.03" in html
    assert len(html) < 60_000
    assert "base64" not in json.dumps(night.model_dump(mode="json"))
    client.store.delete(fox.images[0].id)
    assert "not stored" in night._repr_html_()
