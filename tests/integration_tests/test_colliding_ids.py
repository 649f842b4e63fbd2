"""Two images with one short id, which can be made in minutes: each stays what it is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_wan import ImageResult, WanImageTool, WanStore
from langchain_wan._storage import ids
from langchain_wan.sandbox.app import Sandbox
from tests.support import entrances
from tests.support.conversations import THREAD, answers, attached, build_agent, sent_pictures
from tests.support.images import in_base64, png
from tests.support.scripted_model import calls
from tests.support.services import access, posts

FIRST, SECOND, THIRD = png("red"), png("green"), png("blue")


@pytest.fixture(autouse=True)
def collisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all images have one short id."""
    encode = ids._encode
    monkeypatch.setattr(ids, "_encode", lambda sha256: "0" * 13 + encode(sha256)[13:])


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> WanStore:
    return WanStore() if request.param == "memory" else WanStore(tmp_path)


@pytest.mark.parametrize("scopes", [("anna", "anna", "anna"), ("anna", "ben", "carl"), (None, None, None)])
def test_each_image_of_a_store_has_an_id_of_its_own(scopes: tuple[str | None, ...], store: WanStore) -> None:
    images = [store.add(data, scope=scope) for data, scope in zip((FIRST, SECOND, THIRD), scopes, strict=True)]
    assert [len(image.id) for image in images] == [17, 30, 30]
    for image, scope, data in zip(images, scopes, (FIRST, SECOND, THIRD), strict=True):
        assert store.add(data, scope="carl") == image
        view = store.scoped(scope) if scope else store
        stored = view.get(image.id)
        assert stored is not None
        assert stored.read() == data
    assert store.delete(images[1].id)
    assert [store.get(image.id) is not None for image in images] == [True, False, True]


def test_uploads_and_tool_images_are_named_by_their_own_ids(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, store=WanStore()))
    block = {"type": "image", "mime_type": "image/png"}
    blocks: list[Any] = [{**block, "base64": in_base64(data)} for data in (SECOND, THIRD)]
    said = [attached(FIRST), calls({"prompt": "x"}, start=9), ToolMessage(blocks, tool_call_id="call_9", name="camera")]
    names = [ids.image_ids(hashlib.sha256(data).hexdigest())[1] for data in (SECOND, THIRD)]
    for name, data in (("img_" + "0" * 13, FIRST), *zip(names, (SECOND, THIRD), strict=True)):
        arguments = {"prompt": "night", "images": [name]}
        answer = entrances.by_agent(tool, arguments, THREAD, [*said, HumanMessage("Go.")], asynchronous=False)
        assert ImageResult.from_message(answer).parents == [name]
        assert sent_pictures(sandbox) == [data]


def test_the_id_of_a_collision_is_read_in_every_spelling_and_told(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, store=WanStore()))
    tool.store.add(FIRST, scope="1")
    agent = build_agent(tool, calls({"prompt": "night", "images": ["upload_1"]}), AIMessage("Done."))
    (answer,) = answers(agent.invoke({"messages": [attached(SECOND)]}, THREAD))
    (name,) = answer.artifact["parents"]
    assert len(name) == 30
    assert f"upload_1 is {name}." in str(answer.content)
    arguments = {"prompt": "night", "images": f'["{name.upper()}.png"]'}
    entrances.by_loop(tool, arguments, THREAD, [], asynchronous=False)
    assert [sent_pictures(sandbox, post) for post in range(len(posts(sandbox)))] == [[SECOND], [SECOND]]
