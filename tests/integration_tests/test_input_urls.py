"""Input images as data or as URLs: one refusal teaches only what it can mean, and a dead link costs one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langchain_wan import GeneratedImage, ImageRequest, WanClient, WanStore, errors
from langchain_wan._call import lessons
from tests.support.fault_server import FaultServer, Received, answer, refusal, reply
from tests.support.images import data_uri, png
from tests.support.services import Generate, build_client

DEAD = "https://example.com/dead.png?Signature=abc"
HOSTED = "https://cdn.example.org/a.png"

REFUSED = reply(400, refusal("InvalidURL", "The request URL is invalid"))
ANSWERED = reply(200, answer(data_uri("blue")))


def sent(request: Received) -> list[str]:
    """How the input images of a request travelled: the kind of data, or a whole URL."""
    parts = [part["image_url"]["url"] for part in request.json["messages"][0]["content"] if "image_url" in part]
    return [url.partition(",")[0] if url.startswith("data:") else url for url in parts]


def stored(store: WanStore, url: str | None, colour: str = "red") -> GeneratedImage:
    """An image of the store, which has this URL too."""
    image = store.add(png(colour))
    image.url = url
    store._storage.record(image)
    return image


def edit(client: WanClient, generate: Generate, *images: Any) -> None:
    generate(client, ImageRequest(prompt="make it blue", images=images))


DATA = "data:image/png;base64"


@pytest.mark.parametrize("also", [False, True], ids=["alone", "beside an image of the store"])
def test_a_dead_link_costs_one_request_and_teaches_nothing(also: bool, generate: Generate) -> None:
    store = WanStore()
    image = stored(store, HOSTED)
    with FaultServer(REFUSED, ANSWERED) as server:
        client = build_client(server, store=store)
        with pytest.raises(errors.StatusError, match=r"images\[\d\] \(https://example.com/dead.png\)") as caught:
            edit(client, generate, *([image] if also else []), DEAD)
        assert len(server.posts) == 1
        edit(client, generate, image)
    assert caught.value.charged == "no"
    assert "Signature" not in str(caught.value)
    assert f"images[{int(also)}]" in caught.value.advice
    assert "example.com" not in caught.value.advice
    assert [sent(request) for request in server.posts] == [[*([DATA] if also else []), DEAD], [DATA]]


def test_a_refusal_of_data_alone_is_answered_with_urls_and_remembered(generate: Generate) -> None:
    store = WanStore()
    image = stored(store, HOSTED)
    with FaultServer(REFUSED, ANSWERED) as server:
        client = build_client(server, store=store)
        edit(client, generate, image)
        edit(client, generate, image)
        edit(client, generate, png("green"))  # has no URL
    assert [sent(request) for request in server.posts] == [[DATA], [image.url], [image.url], [DATA]]


def test_what_urls_are_refused_for_was_not_that_they_were_data(generate: Generate) -> None:
    store = WanStore()
    image = stored(store, HOSTED)
    with FaultServer(REFUSED, REFUSED, ANSWERED) as server:
        client = build_client(server, store=store)
        with pytest.raises(errors.StatusError):
            edit(client, generate, image)
        edit(client, generate, image)
    assert [sent(request) for request in server.posts] == [[DATA], [image.url], [DATA]]


@pytest.mark.parametrize(
    "internal", ["http://10.0.0.5/a.png", "https://files.corp/a.png", "http://wiki/a.png", "http://169.254.169.254/a"]
)
def test_an_internal_url_is_never_sent_because_of_a_lesson(internal: str, generate: Generate) -> None:
    store = WanStore()
    image = stored(store, internal)
    with FaultServer(REFUSED, ANSWERED) as server:
        client = build_client(server, store=store)
        with pytest.raises(errors.StatusError):  # there is no URL to send instead
            edit(client, generate, image)
        edit(client, generate, image)
    assert [sent(request) for request in server.posts] == [[DATA], [DATA]]


def test_a_generation_without_input_images_teaches_nothing(generate: Generate) -> None:
    store = WanStore()
    image = stored(store, HOSTED)
    with FaultServer(REFUSED, ANSWERED) as server:
        client = build_client(server, store=store)
        with pytest.raises(errors.StatusError):
            generate(client, "a fox")
        edit(client, generate, image)
    assert [sent(request) for request in server.posts] == [[], [DATA]]


def test_a_lesson_is_kept_for_minutes_and_for_one_kind_of_request() -> None:
    lessons.learn_urls_only("https://api.example.org/v1", "/chat/completions", 1000.0)
    known = [lessons.takes_urls_only("https://api.example.org/v1", "/chat/completions", now) for now in (1000, 1500)]
    assert known == [True, True]
    assert not lessons.takes_urls_only("https://api.example.org/v1", "/chat/completions", 1000.0 + lessons.LIFETIME)
    assert not lessons.takes_urls_only("https://api.example.org/v1", "/video/generations", 1000.0)
    assert not lessons.takes_urls_only("https://other.example.org/v1", "/chat/completions", 1000.0)


def test_a_dead_link_teaches_nothing_where_the_next_call_is_of_another_client(
    generate: Generate, tmp_path: Path
) -> None:
    """The lesson was kept for the process: every later call of anybody sent URLs."""
    store = WanStore(tmp_path)
    image = stored(store, HOSTED)
    with FaultServer(REFUSED, ANSWERED) as server:
        with pytest.raises(errors.StatusError):
            edit(build_client(server, store=WanStore()), generate, DEAD)
        edit(build_client(server, store=store), generate, image)
    assert [sent(request) for request in server.posts] == [[DEAD], [DATA]]
