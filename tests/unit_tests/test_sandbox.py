"""The fake AIsa, called over real HTTP as any client would call it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from statistics import correlation
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from langchain_wan.sandbox import aisa as aisa_module
from langchain_wan.sandbox import app as app_module
from langchain_wan.sandbox import results as results_module
from langchain_wan.sandbox.app import Sandbox
from tests.support.images import encode, to_data_uri

pytestmark = pytest.mark.drawn

CHAT = "/chat/completions"
SMALL = "768*768"
RATE_LIMITS = {
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
}


def text(prompt: str) -> dict[str, Any]:
    return {"type": "text", "text": prompt}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def body(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    content = list(parts) or [text("a red fox in fresh snow")]
    return {"model": "wan2.7-image", "n": 1, "messages": [{"role": "user", "content": content}], **fields}


def authorize(service: Sandbox) -> dict[str, str]:
    return {"Authorization": f"Bearer {service.api_key}"}


def ask(service: Sandbox, *parts: dict[str, Any], **fields: Any) -> httpx.Response:
    request = {name: value for name, value in body(*parts, **fields).items() if value is not ...}
    return httpx.post(service.url + CHAT, json=request, headers=authorize(service), timeout=30)


def read(service: Sandbox, path: str) -> httpx.Response:
    return httpx.get(service.url + path, headers=authorize(service))


def contents(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [choice["message"]["content"][0]["image"] for choice in answer.json()["choices"]]


def pictures(answer: httpx.Response) -> list[bytes]:
    return [httpx.get(url).raise_for_status().content for url in contents(answer)]


def find_size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as opened:
        assert opened.format == "PNG"
        return opened.size


def greys(png: bytes) -> list[float]:
    with Image.open(io.BytesIO(png)) as opened:
        seen = opened.convert("L").crop((0, 0, opened.width, opened.height * 7 // 8))
        return [float(value) for value in seen.resize((24, 24)).tobytes()]


def encoded(size: tuple[int, int] = (640, 480), kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    return encode(Image.linear_gradient("L").resize(size).convert(mode), kind, **options)


def refused(answer: httpx.Response, status: int, code: str, words: str = "") -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert words in error["message"]
    return error


@pytest.fixture(scope="module")
def service() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


# The life of the server


def test_it_listens_on_loopback_only_and_says_where() -> None:
    idle = Sandbox()
    with pytest.raises(RuntimeError, match="before it runs"):
        _ = idle.url
    with idle as running:
        assert running is idle
        assert running.url.startswith("http://127.0.0.1:")
        assert running.url.endswith("/v1")
        assert running.api_key == "sk-aisa-sandbox"


def test_stopping_leaves_no_thread_and_no_listener() -> None:
    before = set(threading.enumerate())
    with Sandbox() as running:
        address = urlsplit(running.url)
        assert ask(running, size=SMALL).status_code == 200
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError), socket.create_connection((address.hostname, address.port)):
        pass
    running.stop()


def test_it_can_be_started_again_and_keeps_its_requests() -> None:
    running = Sandbox().start()
    assert running.start() is running
    ask(running, size=SMALL)
    running.stop()
    with running:
        assert ask(running, size=SMALL).status_code == 200
    assert len(running.requests) == 2


def test_a_port_can_be_chosen_and_a_port_in_use_is_an_error() -> None:
    with Sandbox() as running:
        port = urlsplit(running.url).port
        assert port is not None
        with pytest.raises(OSError, match="in use"):
            Sandbox(port=port).start()
    with Sandbox(port=port) as again:
        assert urlsplit(again.url).port == port


def test_stopping_does_not_wait_for_open_requests() -> None:
    with ThreadPoolExecutor() as pool:
        with Sandbox(faults=["hang"], latency=60) as running:
            asked = [pool.submit(ask, running) for _ in range(2)]
            while len(running.requests) < 2:
                time.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 10
        for answer in asked:
            with pytest.raises(httpx.TransportError):
                answer.result()
    assert running.bill == 0


async def test_it_runs_beside_an_event_loop() -> None:
    with Sandbox() as running:
        async with httpx.AsyncClient(headers=authorize(running), timeout=30) as client:
            answer = await client.post(running.url + CHAT, json=body(size=SMALL))
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["uvicorn", "starlette.requests"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'langchain-wan\[sandbox\]'"):
        Sandbox().start()


def test_a_client_that_goes_away_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Sandbox() as running:
        port = urlsplit(running.url).port
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert ask(running, size=SMALL).status_code == 200
        assert len(running.requests) == 1
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]


# Answers as documented


def test_without_n_four_images_come_one_choice_each(service: Sandbox) -> None:
    answer = ask(service, n=..., size=SMALL)
    completion = answer.json()
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "wan2.7-image"
    assert completion["id"].startswith("chatcmpl-")
    assert completion["created"] == pytest.approx(time.time(), abs=60)
    assert [choice["index"] for choice in completion["choices"]] == [0, 1, 2, 3]
    for choice in completion["choices"]:
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["role"] == "assistant"
        (part,) = choice["message"]["content"]
        assert part["type"] == "image"
    usage = completion["usage"]
    assert usage["completion_tokens"] == 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + 8
    assert len(set(pictures(answer))) == 4


def test_every_answer_has_an_id_and_the_chat_route_adds_rate_limits(service: Sandbox) -> None:
    good, bad, models = ask(service, size=SMALL), ask(service, n=9), read(service, "/models")
    ids = {answer.headers["x-request-id"] for answer in (good, bad, models)}
    assert len(ids) == 3
    assert good.headers["x-request-id"] in good.json()["id"]
    assert set(good.headers) >= RATE_LIMITS
    assert set(bad.headers) >= RATE_LIMITS
    assert not RATE_LIMITS & set(models.headers)
    assert int(good.headers["x-ratelimit-reset-requests"]) > time.time()
    assert "date" in good.headers


def test_a_result_is_a_png_with_its_length(service: Sandbox) -> None:
    (url,) = contents(ask(service))
    assert url.startswith(service.url.removesuffix("/v1") + "/images/")
    assert urlsplit(url).path.endswith(".png")
    assert int(parse_qs(urlsplit(url).query)["Expires"][0]) == pytest.approx(time.time() + 86400, abs=60)
    answer = httpx.get(url)
    assert answer.headers["content-type"] == "image/png"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert find_size(answer.content) == (1024, 1024)


@pytest.mark.parametrize(
    ("fields", "status", "code", "words"),
    [
        (
            {"messages": [{"role": "user", "content": "a fox"}]},
            400,
            "invalid_parameter_error",
            "Input should be a valid list: messages[*].content",
        ),
        ({"messages": ..., "contents": [{"parts": [{"text": "a fox"}]}]}, 400, "invalid_parameter_error", "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "https://example.com/a.png"}]}
                ]
            },
            400,
            "invalid_parameter_error",
            "image part",
        ),
        ({"messages": ["a fox"]}, 400, "invalid_parameter_error", "messages"),
        ({"messages": []}, 400, "missing_parameter", "text"),
        ({"messages": [{"role": "user", "content": []}]}, 400, "missing_parameter", "text"),
        ({"messages": [{"role": "user", "content": [text("  ")]}]}, 400, "missing_parameter", "text"),
        ({"messages": [{"role": "system", "content": [text("a fox")]}]}, 400, "missing_parameter", "text"),
        ({"n": 0}, 400, "InvalidParameter", "Range of n should be [1, 4]"),
        ({"n": 5}, 400, "InvalidParameter", "Range of n should be [1, 4]"),
        ({"n": "2"}, 400, "InvalidParameter", "Range of n should be [1, 4]"),
        ({"n": True}, 400, "InvalidParameter", "Range of n should be [1, 4]"),
        ({"seed": -1}, 400, "InvalidParameter", "Range of seed"),
        ({"seed": 2**31}, 400, "InvalidParameter", "Range of seed"),
        ({"stream": True}, 400, "InvalidParameter", "x-dashscope-sse and stream parameter mismatch"),
        ({"size": "8K"}, 400, "InvalidParameter", "size"),
        ({"size": 1024}, 400, "InvalidParameter", "size"),
        ({"size": "4K"}, 400, "InvalidParameter", "size"),
        ({"size": "700*700"}, 400, "InvalidParameter", "size"),
        ({"size": "2049*2049"}, 400, "InvalidParameter", "size"),
        ({"size": "3000*300"}, 400, "InvalidParameter", "size"),
        ({"model": "wan9"}, 500, "model_not_found", ""),
        ({"model": ["wan2.7-image"]}, 500, "model_not_found", ""),
        ({"model": ...}, 500, "model_not_found", ""),
    ],
)
def test_what_the_real_service_refuses_is_refused(
    fields: dict[str, Any], status: int, code: str, words: str, service: Sandbox
) -> None:
    before = service.bill
    refused(ask(service, **fields), status, code, words)
    assert service.bill == before


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "json_parse_error"),
        (b"", "json_parse_error"),
        (b"\xff\xfe\x00", "json_parse_error"),
        (b"[" * 100_000, "json_parse_error"),
        (b"[]", "invalid_request"),
    ],
    ids=["cut", "empty", "bytes", "deep", "list"],
)
def test_a_body_that_is_not_a_json_object_is_refused(content: bytes, code: str, service: Sandbox) -> None:
    answer = httpx.post(service.url + CHAT, content=content, headers=authorize(service))
    error = refused(answer, 400, code)
    assert error["type"] == "invalid_request_error"
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"Authorization": "Bearer"}, "missing_api_key"),
        ({"Authorization": "Bearer sk-other"}, "invalid_api_key"),
        ({"Authorization": "Basic sk-aisa-sandbox"}, "invalid_api_key"),
    ],
)
def test_the_key_is_checked_on_every_route_of_the_api(headers: dict[str, str], code: str, service: Sandbox) -> None:
    refused(httpx.post(service.url + CHAT, json=body(), headers=headers), 401, code)
    refused(httpx.get(service.url + "/models", headers=headers), 401, code)
    refused(httpx.get(service.url + "/credits/balance", headers=headers), 401, code)


def test_the_other_routes_answer_as_documented(service: Sandbox) -> None:
    models = read(service, "/models").json()
    assert [model["id"] for model in models["data"]] == ["wan2.7-image", "wan2.7-image-pro"]
    assert read(service, "/models/wan2.7-image").json() == models["data"][0]
    refused(read(service, "/models/other"), 404, "unknown_model")
    refused(read(service, "/credits/usage"), 404, "unknown_endpoint")
    images = httpx.post(service.url + "/images/generations", json={"prompt": "x"}, headers=authorize(service))
    assert refused(images, 404, "openai_error")["type"] == "openai_error"


def test_the_bill_and_the_balance_follow_the_images() -> None:
    with Sandbox() as running:
        ask(running, n=2, size=SMALL)
        ask(running, model="wan2.7-image-pro", size=SMALL)
        balance = read(running, "/credits/balance").json()
    assert running.bill == Decimal("0.135")
    assert balance["currency"] == "USD"
    assert balance["account_balance_micros_usd"] == balance["available_balance_micros_usd"] == 1_865_000
    assert balance["api_key"] == {"unlimited": True, "remaining_micros_usd": 1_865_000, "used_micros_usd": 135_000}
    assert balance["as_of"].startswith(time.strftime("%Y-"))


def test_requests_are_recorded_in_order_downloads_and_failures_too() -> None:
    with Sandbox() as running:
        (url,) = contents(ask(running, size=SMALL))
        httpx.get(url)
        httpx.post(running.url + CHAT, content=b"{", headers=authorize(running))
    assert [(request.method, request.path) for request in running.requests] == [
        ("POST", "/v1/chat/completions"),
        ("GET", urlsplit(url).path),
        ("POST", "/v1/chat/completions"),
    ]
    first, download, broken = running.requests
    assert first.json == body(size=SMALL)
    assert first.headers["authorization"] == f"Bearer {running.api_key}"
    assert "authorization" not in download.headers
    assert broken.json is None
    with pytest.raises(AttributeError):
        first.method = "GET"  # type: ignore[misc]  # that it is frozen is what is tested


# What it answers and keeps


def test_nothing_is_kept_of_a_request_without_the_key_or_the_signature() -> None:
    secret = {"model": "wan2.7-image", "messages": "the password is swordfish"}
    with Sandbox(faults=["quota_exceeded"]) as running:
        for headers in ({}, {"Authorization": "Bearer sk-live-swordfish"}, {"Authorization": "Basic swordfish"}):
            assert httpx.post(running.url + CHAT, json=secret, headers=headers).status_code == 401
        assert httpx.get(running.url + "/models", headers={"Authorization": "Bearer sk-live"}).status_code == 401
        unsigned = running.url.removesuffix("/v1") + "/images/0.png?Signature=swordfish"
        assert httpx.get(unsigned).status_code == 404
        assert running.requests == []
        assert "swordfish" not in repr(vars(running))
        assert ask(running, size=SMALL).status_code == 429  # they took no fault either


def test_a_large_request_without_the_key_gets_its_answer_and_no_broken_connection() -> None:
    with Sandbox() as running:
        answer = httpx.post(running.url + CHAT, content=b"x" * 30_000_000, timeout=30)
    refused(answer, 401, "missing_api_key")


def send_raw(service: Sandbox, *lines: str) -> bytes:
    """Send a request with exactly these headers; httpx would add a host."""
    with socket.create_connection(("127.0.0.1", urlsplit(service.url).port)) as client:
        client.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "127.0.0.1", "localhost.evil.example:{port}", ""])
def test_a_request_for_another_host_is_refused_and_not_kept(host: str) -> None:
    with Sandbox() as running:
        named = host.format(port=urlsplit(running.url).port)
        key = f"Authorization: Bearer {running.api_key}"
        answer = send_raw(running, "GET /v1/models HTTP/1.1", f"Host: {named}", key)
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert send_raw(running, "GET /v1/models HTTP/1.0", key).startswith(b"HTTP/1.1 421 ")
        assert running.requests == []


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://localhost"])
def test_a_web_page_of_another_origin_is_refused_and_not_kept(origin: str) -> None:
    with Sandbox() as running:
        headers = {**authorize(running), "Origin": origin}
        preflight = httpx.request("OPTIONS", running.url + CHAT, headers={"Origin": origin})
        answer = httpx.post(running.url + CHAT, json=body(size=SMALL), headers=headers)
        assert (preflight.status_code, answer.status_code) == (403, 403)
        assert "access-control-allow-origin" not in preflight.headers
        assert running.requests == []
        assert running.bill == 0


def test_its_own_host_may_be_called_localhost_and_its_own_origin_is_answered() -> None:
    with Sandbox() as running:
        for name in ("127.0.0.1", "localhost"):
            own = f"{name}:{urlsplit(running.url).port}"
            headers = {**authorize(running), "Host": own, "Origin": f"http://{own}"}
            assert httpx.get(running.url + "/models", headers=headers).status_code == 200
        assert len(running.requests) == 2


def test_the_list_of_requests_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "MAX_REQUESTS", 3)
    with Sandbox() as running:
        for number in range(5):
            read(running, f"/models/{number}")
        assert [request.path for request in running.requests] == [f"/v1/models/{number}" for number in (2, 3, 4)]
        monkeypatch.setattr(app_module, "MAX_REQUEST_BYTES", 2500)
        for seed in range(3):
            ask(running, text("x" * 1000), size="8K", seed=seed)
        assert [request.json["seed"] for request in running.requests] == [1, 2]


# Pictures


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("wan2.7-image", ..., (1024, 1024)),
        ("wan2.7-image", None, (1024, 1024)),
        ("wan2.7-image", "1K", (1024, 1024)),
        ("wan2.7-image", "2K", (2048, 2048)),
        ("wan2.7-image", "1280*720", (1280, 720)),
        ("wan2.7-image", "720x1280", (720, 1280)),
        ("wan2.7-image-pro", "3000*1000", (3000, 1000)),
        ("wan2.7-image-pro", "4K", (4096, 4096)),
    ],
)
def test_images_have_the_requested_size(model: str, size: Any, expected: tuple[int, int], service: Sandbox) -> None:
    (png,) = pictures(ask(service, model=model, size=size))
    assert find_size(png) == expected


def test_pictures_are_random_without_a_seed_and_the_same_with_one(service: Sandbox) -> None:
    def once(**fields: Any) -> list[bytes]:
        return pictures(ask(service, size=SMALL, **fields))

    assert once() != once()
    assert once(n=2, seed=7) == once(n=2, seed=7)
    assert once(seed=7) != once(seed=8)
    assert len(set(once(n=4, seed=7))) == 4


def test_the_prompt_is_the_text_of_the_last_user_message(service: Sandbox) -> None:
    def once(*messages: tuple[str, list[dict[str, Any]]]) -> bytes:
        written = [{"role": role, "content": content} for role, content in messages]
        (png,) = pictures(ask(service, messages=written, seed=1, size=SMALL))
        return png

    plain = once(("user", [text("a fox\nat night")]))
    assert plain == once(("user", [text("a fox"), text("at night")]))
    assert plain == once(("user", [text("a cat")]), ("system", [text("hello")]), ("user", [text("a fox\nat night")]))
    assert plain != once(("user", [text("a cat")]))


@pytest.mark.parametrize("prompt", ["一只红色的狐狸", "🦊 " * 50, b"\\ud800".decode("unicode_escape"), "x" * 6000])
def test_a_prompt_may_be_any_unicode(prompt: str, service: Sandbox) -> None:
    # Encoded here: httpx refuses to send a lone surrogate, another client may not.
    answer = httpx.post(
        service.url + CHAT, content=json.dumps(body(text(prompt), size=SMALL)), headers=authorize(service)
    )
    assert answer.status_code == 200


def test_parameters_that_it_does_not_know_are_ignored(service: Sandbox) -> None:
    assert ask(service, size=SMALL, watermark=True, thinking_mode=False, temperature=1).status_code == 200


def test_base64_mode_answers_with_the_bytes_of_the_images() -> None:
    with Sandbox(base64=True) as running:
        (content,) = contents(ask(running, size=SMALL))
    assert find_size(b64decode(content.removeprefix("data:image/png;base64,"))) == (768, 768)


# References


def test_an_edit_is_drawn_from_its_reference(service: Sandbox) -> None:
    first, other = pictures(ask(service, text("a fox in the snow"), size=SMALL)) + pictures(
        ask(service, text("a city at night"), size=SMALL)
    )
    edits = [
        pictures(ask(service, image(to_data_uri(first)), text(words)))[0] for words in ("make it night", "oil paint")
    ]
    for edit in edits:
        assert correlation(greys(edit), greys(first)) > correlation(greys(edit), greys(other)) + 0.1
    assert edits[0] != edits[1]


@pytest.mark.parametrize("words", ["make it night", "as an oil painting", "add a cat", "change nothing"])
def test_several_images_of_one_edit_differ(words: str, service: Sandbox) -> None:
    flat = image(to_data_uri(encoded()))
    for seed in (7, ...):
        assert len(set(pictures(ask(service, flat, text(words), n=3, seed=seed)))) == 3


def test_the_url_of_a_result_and_its_bytes_make_the_same_edit(service: Sandbox) -> None:
    (url,) = contents(ask(service, size=SMALL, seed=1))
    png = httpx.get(url).content
    by_url, by_data = (
        pictures(ask(service, image(link), text("in winter"), seed=1)) for link in (url, to_data_uri(png))
    )
    assert by_url == by_data


def test_other_urls_are_not_fetched_and_drawn_as_a_placeholder(service: Sandbox) -> None:
    before = len(service.requests)
    answers = [
        ask(service, image(url), text("at dusk"), seed=1)
        for url in ("https://example.com/a.png", "http://127.0.0.1:9/a.png")
    ]
    assert [request.method for request in service.requests[before:]] == ["POST", "POST"]
    (first,), (second,) = (pictures(answer) for answer in answers)
    assert first == second
    assert find_size(first) == (1024, 1024)


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [
        ((900, 600), ..., (1256, 840)),
        ((600, 900), ..., (840, 1256)),
        ((600, 900), "2K", (1672, 2512)),
        ((4000, 500), ..., (2896, 360)),
        ((900, 600), "1000*1000", (1000, 1000)),
    ],
)
def test_an_edit_keeps_the_ratio_of_the_last_image(
    size: tuple[int, int], asked: Any, expected: tuple[int, int], service: Sandbox
) -> None:
    links = [image(to_data_uri(encoded(each))) for each in ((640, 640), size)]
    (png,) = pictures(ask(service, *links, text("together"), size=asked))
    width, height = find_size(png)
    assert (width, height) == pytest.approx(expected, abs=24)
    assert max(width, height) <= 8 * min(width, height)


def test_the_ratio_is_that_of_the_image_after_its_rotation(service: Sandbox) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = to_data_uri(encoded((900, 600), "JPEG", exif=exif), "image/jpeg")
    width, height = find_size(pictures(ask(service, image(turned), text("at dusk")))[0])
    assert width < height


@pytest.mark.parametrize(
    "make",
    [
        lambda: "data:image/png;base64,!!!!",
        lambda: "data:image/png,plain",
        lambda: to_data_uri(b"not an image"),
        lambda: to_data_uri(encoded(kind="GIF"), "image/gif"),
        lambda: to_data_uri(encoded()[:-200]),
        lambda: to_data_uri(encoded(kind="JPEG")[:-2000]),
        lambda: to_data_uri(encoded(mode="RGBA")),
        lambda: to_data_uri(encoded(mode="L", transparency=0)),
        lambda: to_data_uri(encoded((239, 600))),
        lambda: to_data_uri(encoded((8001, 1100))),
        lambda: to_data_uri(encoded((2400, 240 + 50))),
        lambda: to_data_uri(encoded() + b"\0" * 21_000_000),
    ],
    ids=[
        "base64",
        "plain",
        "text",
        "gif",
        "cut png",
        "cut jpeg",
        "alpha",
        "transparent",
        "small",
        "large",
        "narrow",
        "heavy",
    ],
)
def test_input_images_that_break_a_rule_are_refused(make: Callable[[], str], service: Sandbox) -> None:
    before = service.bill
    refused(ask(service, image(make()), text("at dusk")), 400, "InvalidParameter", "<400> InternalError.Algo")
    assert service.bill == before


def test_nine_input_images_are_accepted_and_ten_are_refused(service: Sandbox) -> None:
    links = [image("https://example.com/a.png")] * 10
    assert ask(service, *links[1:], text("together")).status_code == 200
    refused(ask(service, *links, text("together")), 400, "InvalidParameter", "9")


def test_urls_that_cannot_be_fetched_are_refused(service: Sandbox) -> None:
    (url,) = contents(ask(service, size=SMALL))
    for link in (url.replace("Signature=", "Signature=x"), url.replace(".png", "0.png"), "ftp://example.com/a.png"):
        refused(ask(service, image(link), text("at dusk")), 400, "BadRequest.InputDownloadFailed")


def test_four_k_is_for_pro_without_images(service: Sandbox) -> None:
    link = image("https://example.com/a.png")
    refused(ask(service, link, text("x"), model="wan2.7-image-pro", size="4K"), 400, "InvalidParameter", "size")


def test_a_service_that_accepts_no_data_uris_can_be_simulated() -> None:
    with Sandbox(data_uris=False) as running:
        answer = ask(running, image(to_data_uri(encoded())), text("at dusk"))
        assert ask(running, image("https://example.com/a.png"), text("at dusk")).status_code == 200
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "<400> InternalError.Algo.InvalidParameter: data URIs are not accepted, pass a public URL",
            "type": "invalid_request_error",
            "param": None,
            "code": "InvalidURL",
        }
    }


# Results


def test_results_expire() -> None:
    with Sandbox(url_ttl=0) as running:
        (url,) = contents(ask(running, size=SMALL))
        answer = httpx.get(url)
        refused(ask(running, image(url), text("at dusk")), 400, "BadRequest.InputDownloadFailed")
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("application/xml")
    assert "<Code>AccessDenied</Code><Message>Request has expired.</Message>" in answer.text
    assert answer.headers["x-request-id"] in answer.text


def test_results_need_their_signature(service: Sandbox) -> None:
    (url,) = contents(ask(service, size=SMALL))
    forged = httpx.get(url.replace("Signature=", "Signature=x"))
    assert (forged.status_code, "SignatureDoesNotMatch" in forged.text) == (403, True)
    unsigned = httpx.get(url.partition("?")[0])
    assert unsigned.status_code == 403
    unknown = httpx.get(url.replace(".png", "0.png"))
    assert (unknown.status_code, "NoSuchKey" in unknown.text) == (404, True)


def test_the_oldest_results_are_dropped_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox() as running:
        first, second = (contents(ask(running, size=SMALL, seed=1))[0] for _ in range(2))
        size = len(httpx.get(first).content)
        monkeypatch.setattr(results_module, "MAX_STORED_BYTES", 2 * size + 10)
        third = contents(ask(running, size=SMALL, seed=1))[0]
        assert [httpx.get(url).status_code for url in (first, second, third)] == [404, 200, 200]


# Latency and faults


def test_latencies_of_parallel_calls_overlap() -> None:
    with Sandbox(latency=2) as running, ThreadPoolExecutor() as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda _: ask(running, size=SMALL), range(3)))
        elapsed = time.monotonic() - began
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert 2 <= elapsed < 5


def test_refusals_come_without_latency() -> None:
    with Sandbox(latency=600, faults=["quota_exceeded"]) as running:
        assert ask(running).status_code == 429
        assert ask(running, n=9).status_code == 400


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("invalid_request", 400),
        ("missing_parameter", 400),
        ("json_parse_error", 400),
        ("invalid_parameter_error", 400),
        ("missing_api_key", 401),
        ("invalid_api_key", 401),
        ("revoked_api_key", 401),
        ("insufficient_permissions", 403),
        ("model_not_allowed", 403),
        ("region_blocked", 403),
        ("unknown_model", 404),
        ("unknown_endpoint", 404),
        ("openai_error", 404),
        ("unsupported_parameter", 422),
        ("content_policy_violation", 422),
        ("rate_limit_exceeded", 429),
        ("upstream_rate_limit", 429),
        ("quota_exceeded", 429),
        ("model_not_found", 500),
        ("internal_error", 500),
        ("gateway_error", 503),
        ("upstream_timeout", 504),
        ("data_inspection_failed", 400),
        ("Arrearage", 400),
    ],
)
def test_each_documented_refusal_can_be_a_fault(fault: str, status: int) -> None:
    with Sandbox(faults=[fault]) as running:
        answer = ask(running, size=SMALL)
        assert ask(running, size=SMALL).status_code == 200
    error = refused(answer, status, fault)
    assert error["type"]
    assert answer.headers.get("retry-after") == ("1" if fault == "rate_limit_exceeded" else None)
    assert running.bill == Decimal("0.030")


def test_some_refusals_have_their_own_format() -> None:
    names = ["data_inspection_failed", "insufficient_credits", "upstream_unavailable", "empty", "error_200"]
    with Sandbox(faults=names) as running:
        inspected, credit, html, empty, error = (ask(running) for _ in names)
    assert inspected.json()["request_id"] == inspected.headers["x-request-id"]
    assert "InternalError.Algo.DataInspectionFailed" in inspected.json()["error"]["message"]
    assert credit.status_code == 402
    assert set(credit.json()) == {"code", "message"}
    assert html.status_code == 502
    assert html.headers["content-type"].startswith("text/html")
    assert (empty.status_code, empty.json()["choices"]) == (200, [])
    assert error.status_code == 200
    assert "message" in error.json()["error"]
    assert running.bill == 0


def test_faults_are_used_in_order_and_none_means_success() -> None:
    own = {"status": 418, "body": {"tea": True}, "headers": {"X-Kind": "green"}}
    faults = [None, "rate_limit_exceeded", own, {"status": 500, "body": "plain"}, {"status": 503}]
    with Sandbox(faults=iter(faults)) as running:
        read(running, "/models")
        answers = [ask(running, size=SMALL) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200, 429, 418, 500, 503, 200]
    assert answers[2].json() == {"tea": True}
    assert answers[2].headers["x-kind"] == "green"
    assert answers[3].text == "plain"
    assert answers[3].headers["content-type"].startswith("text/plain")
    assert answers[4].content == b""


def test_an_unknown_fault_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'teapot' is not a fault .*rate_limit_exceeded.*disconnect"):
        Sandbox(faults=[None, "teapot"])
    with pytest.raises(TypeError, match="stats"):
        Sandbox(faults=[{"stats": 500}])


def test_a_connection_breaks_after_the_work_was_billed() -> None:
    with Sandbox(faults=["disconnect", "truncate"]) as running:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            ask(running, n=2, size=SMALL)
        assert running.bill == Decimal("0.060")
        with httpx.stream("POST", running.url + CHAT, json=body(size=SMALL), headers=authorize(running)) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
                answer.read()
        assert running.bill == Decimal("0.090")
        assert ask(running, size=SMALL).status_code == 200


def test_a_hanging_call_ends_with_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aisa_module, "HANG_SECONDS", 0.2)
    with Sandbox(faults=["hang"]) as running:
        refused(ask(running), 504, "upstream_timeout")
        assert running.bill == 0


async def test_many_callers_at_once_are_served_and_billed_exactly() -> None:
    with Sandbox() as running:
        async with httpx.AsyncClient(headers=authorize(running), timeout=60) as client:
            calls = [client.post(running.url + CHAT, json=body(size=SMALL, n=1)) for _ in range(20)]
            answers = await asyncio.gather(*calls)
    assert [answer.status_code for answer in answers] == [200] * 20
    assert running.bill == Decimal("0.600")
    assert len(running.requests) == 20
