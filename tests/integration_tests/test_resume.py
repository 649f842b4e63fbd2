"""`resume`: what was paid for is fetched later, with no key, and one lost operation keeps nothing else back."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import ImageResult, WanClient, WanStore, errors
from langchain_wan.sandbox.app import Sandbox
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import png
from tests.support.services import access, build_client


def resume(client: WanClient, asynchronous: bool) -> list[ImageResult]:
    return asyncio.run(client.aresume()) if asynchronous else client.resume()


def late(names: str) -> Any:
    """Files that can be downloaded after three attempts."""
    return {f"/{name}.png": [*[reply(503)] * 3, reply(200, png())] for name in names}


def pay(client: WanClient, *prompts: str) -> None:
    """Pay for images that can't be fetched yet."""
    for prompt in prompts:
        with pytest.raises(errors.PaidButNotRetrievedError):
            client.generate(prompt)


def test_it_needs_no_key_and_fetches_from_every_service(asynchronous: bool, store: WanStore) -> None:
    with FaultServer(files=late("a")) as first, FaultServer(files=late("a")) as second:
        for server in (first, second):
            server._script = [reply(200, answer(f"{server.origin}/a.png"))]
            pay(build_client(server, store=store), "a fox")
        results = resume(WanClient(store=store), asynchronous)
        assert [image.read() for result in results for image in result.images] == [png()] * 2
        assert store.unfinished() == []
        for server in (first, second):
            assert len(server.posts) == 1
            assert all("authorization" not in request.headers for request in server.requests[1:])


def test_one_damaged_operation_keeps_nothing_else_back(
    asynchronous: bool, store: WanStore, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultServer(files=late("abc")) as server:
        server._script = [reply(200, answer(f"{server.origin}/{name}.png")) for name in "abc"]
        pay(build_client(server, store=store), "a fox", "a hare", "a wolf")
        lost = store.unfinished()[1]
        with store._storage.ledger._database.transaction() as connection:
            connection.execute(
                """UPDATE operations SET result = '{"images": [{"id": "img_0"}]}' WHERE id = ?""", (lost.operation_id,)
            )
        with caplog.at_level(logging.WARNING, "langchain_wan"):
            results = resume(WanClient(store=store), asynchronous)
        assert {result.prompt for result in results} == {"a fox", "a wolf"}
        assert store.unfinished() == []
        assert f"row of operation {lost.operation_id!r} at {lost.service!r} is damaged" in caplog.text


def test_what_a_sandbox_that_is_gone_made_is_not_asked_for(asynchronous: bool, store: WanStore) -> None:
    with Sandbox(url_ttl=0) as gone:
        pay(build_client(gone, store=store), "a fox")
    with Sandbox() as sandbox:
        assert resume(WanClient(**access(sandbox, store=store)), asynchronous) == []
        assert sandbox.requests == []


def test_the_history_says_what_the_sandbox_answered(tmp_path: Path) -> None:
    store = WanStore(tmp_path)
    with Sandbox() as sandbox, FaultServer() as proxy:
        build_client(sandbox, store=store).generate("a fox")
        build_client(proxy, store=store).generate("a fox")
    assert [entry.is_sandbox for entry in store.history()] == [False, True]
