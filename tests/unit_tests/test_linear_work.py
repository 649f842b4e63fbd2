"""Twice as many posted messages are twice the work, and none of it holds the ledger."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_wan import WanStore
from langchain_wan._media import decode
from langchain_wan._storage.ids import image_id
from langchain_wan._storage.sqlite import Database
from langchain_wan._tool import attached
from langchain_wan._tool.conversation import Conversation
from tests.support.images import in_base64, png

URL = "https://example.com"
CLOSE_TO_LINEAR = 2.6  # of twice as many messages; squares would be 4


def count_calls(act: Callable[[], object]) -> int:
    """Return how many calls of functions some work is."""
    calls = 0

    def profile(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


def name(number: int) -> str:
    return image_id(hashlib.sha256(str(number).encode()).hexdigest())


def call(urls: list[str]) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "wan_image", "args": {"images": urls}, "id": "c", "type": "tool_call"}])


def by_url(number: int) -> list[BaseMessage]:
    return [HumanMessage([{"type": "image", "url": f"{URL}/{index}.png"}]) for index in range(number)]


def signed(number: int) -> list[BaseMessage]:
    """Many signatures of one path, compared with as many that a model wrote."""
    blocks: list[Any] = [{"type": "image", "url": f"{URL}/1.png?sig={index}"} for index in range(number)]
    return [HumanMessage(blocks), call([f"{URL}/1.png?x={index}" for index in range(number)])]


def copied(number: int) -> list[BaseMessage]:
    blocks: list[Any] = [{"type": "image", "url": f"{URL}/{index}.png?sig=1"} for index in range(number)]
    return [HumanMessage(blocks), call([f"{URL}/{index}.png" for index in range(number)])]


def identical(number: int) -> list[BaseMessage]:
    block = {"type": "image", "base64": in_base64(png()), "mime_type": "image/png"}
    return [HumanMessage([block]) for _ in range(number)]


def unknown_ids(number: int) -> list[BaseMessage]:
    return [ToolMessage(name(index), tool_call_id="c") for index in range(number)]


def told(number: int) -> list[BaseMessage]:
    return [ToolMessage(f"upload_{index + 1} is {name(index)}.", tool_call_id="c") for index in range(number)]


def artifacts(number: int) -> list[BaseMessage]:
    facts = {"mime_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    images = [
        {**facts, "id": name(index), "sha256": hashlib.sha256(str(index).encode()).hexdigest(), "url": f"{URL}/{index}"}
        for index in range(number)
    ]
    return [ToolMessage("1 image", tool_call_id="c", artifact={"images": [image]}) for image in images]


def foreign(number: int) -> list[BaseMessage]:
    return [ToolMessage([{"type": "image", "url": f"{URL}/{index}.png"}], tool_call_id="c") for index in range(number)]


POSTED = [by_url, signed, copied, identical, unknown_ids, told, artifacts, foreign]


def work(messages: list[BaseMessage], store: WanStore) -> None:
    """Do all that a call, a refusal and a model call do with messages; twice, as the next turn does."""
    for _ in range(2):
        conversation = Conversation(store.scoped("1"), messages, "1")
        conversation.uploads()
        conversation.names()
        conversation.unused()
        conversation.label(messages)
        conversation.usable_ids()
        for number in range(9):
            conversation.at_url(f"{URL}/{number}.png")
            conversation.upload(f"upload_{number + 1}")
            conversation.known(name(number))


@contextmanager
def counting_transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    seen: list[str] = []

    def count(kind: str) -> Any:
        real = getattr(Database, kind)

        def counted(self: Database) -> Any:
            seen.append(kind)
            return real(self)

        return counted

    with monkeypatch.context() as patch:
        for kind in ("transaction", "read"):
            patch.setattr(Database, kind, count(kind))
        yield seen


@pytest.mark.parametrize("build", POSTED)
def test_twice_as_many_messages_are_twice_the_work(build: Callable[[int], list[BaseMessage]]) -> None:
    work(build(20), WanStore())  # what is done once for a process
    few, many = (count_calls(lambda size=size: work(build(size), WanStore())) for size in (150, 300))  # type: ignore[misc]  # mypy infers no lambda with a default
    assert many / few < CLOSE_TO_LINEAR


@pytest.mark.parametrize("build", POSTED)
def test_more_messages_ask_the_ledger_no_more_often(
    build: Callable[[int], list[BaseMessage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with counting_transactions(monkeypatch) as seen:
        work(build(20), WanStore())
        few = len(seen)
        work(build(200), WanStore())
    assert len(seen) - few <= few


def test_nobody_waits_for_the_ledger_while_uploads_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes while each of them is decoded."""
    store = WanStore(tmp_path).scoped("1")
    store.add(png())
    inspect, writes = decode.inspect, []

    def write_too(*values: Any, **settings: Any) -> Any:
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        writes.append(1)
        return inspect(*values, **settings)

    monkeypatch.setattr(decode, "inspect", write_too)
    blocks: list[Any] = [
        {"type": "image", "base64": in_base64(png(size=(300 + index, 300))), "mime_type": "image/png"}
        for index in range(20)
    ]
    uploads = Conversation(store, [HumanMessage(blocks)], "1").uploads()
    assert len(writes) == len({upload.image_id for upload in uploads}) == 20


def test_what_has_no_name_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "MAX_UPLOADS", 5)
    conversation = Conversation(WanStore(), by_url(9), "1")
    assert [upload.name for upload in conversation.uploads()] == [f"upload_{number}" for number in range(1, 6)]
    assert len(conversation.unused()) == 0


def test_arguments_of_any_depth_are_searched() -> None:
    nested: Any = "upload_1"
    for _ in range(5_000):
        nested = [nested]
    used = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "wan_image", "args": nested}]}
    first: dict[str, Any] = {"role": "user", "content": [{"type": "image", "url": f"{URL}/1.png"}]}
    assert Conversation(WanStore(), [first, used], "1").unused() == []
