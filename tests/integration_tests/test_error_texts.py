"""What an error says: which input, the value, the limit and what is left of it, the money, and the next step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langchain_wan import Budget, ImageRequest, WanImageTool, WanStore
from langchain_wan.errors import (
    BudgetExceededError,
    ImageReferenceError,
    InvalidImageRequestError,
    PaidButNotRetrievedError,
    PaymentUncertainError,
    StatusError,
    WanError,
)
from langchain_wan.sandbox.app import Sandbox
from tests.support.fault_server import FaultServer, answer, refusal, reply, silence
from tests.support.images import png
from tests.support.services import Generate, access, build_client, posts


def fail(generate: Generate, service: Any, request: Any, **settings: Any) -> WanError:
    with pytest.raises(WanError) as caught:
        generate(build_client(service, **settings), request)
    return caught.value


def test_a_missing_file_is_named_with_its_index(sandbox: Sandbox, generate: Generate, tmp_path: Path) -> None:
    images = [png(), tmp_path / "fox.png", png()]
    error = fail(generate, sandbox, {"prompt": "combine", "images": images})
    assert isinstance(error, ImageReferenceError)
    label = str(tmp_path / "fox.png")[-60:]
    assert label + ") can't be used: there is no such file. Nothing was charged. Check its path." in str(error)
    assert str(error).startswith("images[1] (")
    assert posts(sandbox) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("photo.jpg", "Path('photo.jpg')"),
        ("file:///a/fox.png", "Path('/a/fox.png')"),
        ("~/a b.png", "Path('~/a b.png')"),
    ],
)
def test_a_string_that_is_a_path_is_quoted_with_what_to_write(
    text: str, path: str, sandbox: Sandbox, generate: Generate
) -> None:
    error = fail(generate, sandbox, {"prompt": "edit", "images": [text]})
    assert str(error) == (
        f"images[0] ({text}) can't be used: it is not an id, a data URI or an http(s) URL. Nothing was charged. "
        f"For a file, use {path}."
    )


@pytest.mark.parametrize(
    ("limits", "asked", "text", "advice"),
    [
        (
            {"max_usd": "0.1"},
            3,
            "The budget does not allow this call, which may cost $0.09 (limit $0.10: $0.03 spent, $0.03 reserved, "
            "$0.04 left). Nothing was charged. Raise the budget, or ask for at most 1 image.",
            "The image budget allows 1 more image. Call again with n=1, or tell the user.",
        ),
        (
            {"max_usd": "0.061", "max_images": 9},
            1,
            "The budget does not allow this call, which may cost $0.03 (limit $0.061: $0.03 spent, $0.03 reserved, "
            "$0.001 left) and makes 1 image (limit 9: 2 made or reserved, 7 left). Nothing was charged. "
            "Raise the budget.",
            "The image budget does not allow another image. Tell the user; do not call again.",
        ),
        (
            {"max_images": 4, "name": "team"},
            3,
            "The budget 'team' does not allow this call, which makes 3 images (limit 4: 2 made or reserved, 2 left). "
            "Nothing was charged. Raise the budget, or ask for at most 2 images.",
            "The image budget allows 2 more images. Call again with n=2, or tell the user.",
        ),
    ],
)
def test_the_error_says_what_is_left_and_the_advice_how_many_images_would_fit(
    limits: Any, asked: int, text: str, advice: str, generate: Generate
) -> None:
    budget = Budget(**limits)
    with Sandbox(faults=[None, "disconnect"]) as service:
        client = build_client(service, budget=budget, store=WanStore())
        generate(client, "a fox")
        with pytest.raises(PaymentUncertainError):
            generate(client, "a wolf")
        with pytest.raises(BudgetExceededError) as caught:
            generate(client, ImageRequest(prompt="a hen", n=asked))
        assert len(posts(service)) == 2
    assert (str(caught.value), caught.value.advice) == (text, advice)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        (
            "size",
            "16 by 9",
            'size: accepted values are "1K", "2K", "4K", a ratio such as "16:9" or "1K 16:9", and width*height in '
            'pixels, such as "1280*720"; '
            "got '16 by 9'",
        ),
        ("n", 9, "n: at most 4 is accepted; got 9"),
        ("n", "two", "n: a whole number is expected; got 'two'"),
        ("seed", -1, "seed: at least 0 is accepted; got -1"),
        ("images", [b"x"] * 10, "images: 10 were passed, at most 9 are accepted"),
        (
            "images",
            [b"x", None],
            "images[1]: an image is an id, a URL, a data URI, bytes, a Path, a PIL image or a "
            "GeneratedImage; got NoneType",
        ),
        ("sise", "1K", "sise: there is no such parameter (did you mean size?)"),
        ("prompt", "secret " * 1000, "prompt: 7,000 characters, at most 5,000 are accepted"),
        ("metadata", {"user": 1}, "metadata.user: text is expected"),
    ],
)
def test_a_value_that_is_refused_is_named_with_what_is_accepted(
    field: str, value: Any, problem: str, sandbox: Sandbox, generate: Generate
) -> None:
    error = fail(generate, sandbox, {"prompt": "a fox", field: value})
    assert isinstance(error, InvalidImageRequestError)
    assert str(error) == f"The image request is not valid: {problem}. Nothing was charged."
    assert error.advice == f"Not valid: {problem}."
    assert posts(sandbox) == []


def test_a_tool_says_what_it_allows(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox), max_n=2, models=("wan2.7-image",), args_schema=ImageRequest)
    arguments = {"prompt": "a fox", "n": 3, "model": "wan2.7-image-pro", "seed": 1}
    text = tool.invoke({"name": "wan_image", "args": arguments, "id": "1", "type": "tool_call"}).text
    assert "model: one of wan2.7-image; n: at most 2" in text
    assert "seed: it is not a parameter of this tool" in text
    assert posts(sandbox) == []


def test_a_time_out_names_its_seconds_and_its_setting(generate: Generate) -> None:
    with FaultServer(silence()) as server:
        error = fail(generate, server, "a fox", timeout=0.3)
        assert len(server.posts) == 1
    assert isinstance(error, PaymentUncertainError)
    text = "the response was incomplete: the timeout of 0.3 s ended it (setting `timeout`). It may have been charged"
    assert text in str(error)


def test_a_download_that_is_late_names_its_setting(generate: Generate) -> None:
    def result(connection: Any, request: Any) -> None:
        reply(200, answer(f"http://{request.headers['host']}/a.png"))(connection, request)

    with FaultServer(result, files={"/a.png": silence()}) as server:
        error = fail(generate, server, "a fox", download_timeout=0.3)
        assert len(server.posts) == 1
    assert isinstance(error, PaidButNotRetrievedError)
    assert "the timeout of 0.3 s ended it (setting `download_timeout`). It was charged ($0.03)." in str(error)


@pytest.mark.parametrize(
    ("status", "money"),
    [
        (500, "It may have been charged ($0.03)."),
        (503, "It may have been charged ($0.03)."),
        (400, "Nothing was charged."),
        (402, "Nothing was charged."),
    ],
)
def test_what_a_service_said_ends_with_a_full_stop_before_the_money(
    status: int, money: str, generate: Generate
) -> None:
    with FaultServer(reply(status, refusal("oops", "it broke"))) as server:
        error = fail(generate, server, "a fox")
    assert f" (HTTP {status}, oops: it broke). {money}" in str(error)
    assert (error.charged == "no") == isinstance(error, StatusError)
    assert (error.charged == "no") == ("Nothing was charged" in str(error))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_result_on_another_port_of_this_machine_names_the_setting_that_fetches_it(
    host: str, generate: Generate
) -> None:
    networks = ["127.0.0.0/8", "::1/128"]
    with (
        FaultServer(files={"/a.png": reply(200, png())}) as files,
        FaultServer(reply(200, answer(f"http://{host}:{files.port}/a.png"))) as server,
    ):
        store = WanStore()
        error = fail(generate, server, "a fox", store=store)
        (result,) = build_client(server, store=store, allowed_networks=networks).resume()
        assert len(server.posts) == 1
    assert 'set allowed_networks=["127.0.0.0/8", "::1/128"]' in str(error)
    assert len(result.images) == 1


def test_a_result_at_an_internal_address_of_another_machine_advises_no_way_to_it(generate: Generate) -> None:
    with FaultServer(reply(200, answer("http://10.0.0.1/a.png"))) as server:
        error = fail(generate, server, "a fox")
    assert "its address is not public" in str(error)
    assert "allowed_networks" not in str(error)
