"""Answers that are not as documented: what a person would see there is read, and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wan._media import data_uri
from langchain_wan._media.large_json import LONG
from langchain_wan._net.messages import Reply
from langchain_wan._services.aisa_chat import read_answer
from langchain_wan._services.answer import Answer
from langchain_wan._services.inputs import Inputs, mark_base64, mark_bytes, mark_url
from langchain_wan.errors import UnreadableAnswerError
from tests.support.images import png
from tests.support.odd_answers import FRAMES, PLACES, SPELLINGS, message, stream

URL = "https://cdn.aisa.one/images/wan2.7/a.png?Expires=1776500000&Signature=ab%2Fcd"
SMALL = png("red")
LARGE = SMALL[:-12] + random.Random(1).randbytes(LONG) + SMALL[-12:]  # long enough to stay in the body of the answer


def read(body: bytes, **more: Any) -> Answer:
    return read_answer(Reply(200, {}, body), max_cost_usd=Decimal(1), inputs=Inputs(**more))


def shown(answer: Answer) -> list[str | bytes]:
    """What each image is: its URL, or its bytes."""
    return [part.url or part.content or data_uri.decode_image_text(part.data or "") for part in answer.parts]


IMAGES: dict[str, tuple[str, str | bytes]] = {
    "URL": (URL, URL),
    "base64": (base64.b64encode(SMALL).decode(), SMALL),
    "data URI": (f"data:image/png;base64,{base64.b64encode(SMALL).decode()}", SMALL),
    "large base64": (base64.b64encode(LARGE).decode(), LARGE),
    "large data URI": (f"data:image/png;base64,{base64.b64encode(LARGE).decode()}", LARGE),
}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("place", PLACES)
def test_a_paid_image_is_read_wherever_it_stands(place: str, image: str) -> None:
    text, expected = IMAGES[image]
    wrong = [
        name
        for name, spell in SPELLINGS.items()
        if shown(read(FRAMES["plain"](PLACES[place](spell(text))))) != [expected]
    ]
    assert wrong == []


@given(
    st.sampled_from(sorted(IMAGES)),
    st.sampled_from(sorted(SPELLINGS)),
    st.sampled_from(sorted(PLACES)),
    st.sampled_from(sorted(FRAMES)),
)
def test_a_paid_image_is_read_in_any_spelling_place_and_frame(
    image: str, spelling: str, place: str, frame: str
) -> None:
    text, expected = IMAGES[image]
    assert shown(read(FRAMES[frame](PLACES[place](SPELLINGS[spelling](text))))) == [expected]


@given(st.sampled_from(sorted(IMAGES)), st.sampled_from(sorted(SPELLINGS)), st.integers(1, 5000))
def test_deltas_of_a_stream_are_joined(image: str, spelling: str, size: int) -> None:
    text, expected = IMAGES[image]
    said = SPELLINGS[spelling](text)
    size = max(size, len(said) // 40)
    pieces = [said[start : start + size] for start in range(0, len(said), size)]
    deltas = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"images": 1}}
    answer = read(stream(role, *deltas, end))
    assert shown(answer) == [expected]
    assert answer.usage == {"images": 1}


def test_each_choice_of_a_stream_is_an_image() -> None:
    urls = [f"https://cdn.aisa.one/{index}.png" for index in range(3)]
    deltas = [
        {"choices": [{"index": index, "delta": {"images": [{"image_url": {"url": url}}]}}]}
        for index, url in enumerate(urls)
    ]
    assert shown(read(stream(*deltas))) == urls
    parts = [{"choices": [{"index": 0, "delta": {"content": [{"image": url}]}}]} for url in urls]
    assert shown(read(stream(*parts))) == urls


def test_an_unfinished_image_of_a_stream_is_not_a_result() -> None:
    partial = {"type": "image_generation_call.partial_image", "partial_image_b64": IMAGES["base64"][0]}
    done = {"type": "response.completed", "response": {"output": [{"result": URL, "type": "image_generation_call"}]}}
    assert shown(read(stream(partial, partial, done))) == [URL]


@pytest.mark.parametrize("text", [URL, f"![a fox]({URL})", IMAGES["data URI"][0], IMAGES["large base64"][0]])
def test_a_body_may_be_the_text_of_an_image(text: str) -> None:
    (image,) = shown(read(text.encode()))
    assert image in {URL, SMALL, LARGE}


def test_a_body_may_be_the_image_itself() -> None:
    assert shown(read(SMALL)) == [SMALL]
    with pytest.raises(UnreadableAnswerError):
        read(SMALL[:-40])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https:\\/\\/cdn.aisa.one\\/a.png", "https://cdn.aisa.one/a.png"),
        ("https://cdn.aisa.one/a.png?x=1&amp;y=2", "https://cdn.aisa.one/a.png?x=1&y=2"),
        ("https://cdn.aisa.one/wan\n 2.7/a.png", "https://cdn.aisa.one/wan2.7/a.png"),
        ("https://cdn.aisa.one/a fox.png", "https://cdn.aisa.one/a%20fox.png"),
        ("//cdn.aisa.one/a.png", "https://cdn.aisa.one/a.png"),
        ("cdn.aisa.one/a.png?x=1", "https://cdn.aisa.one/a.png?x=1"),
        ("https://cdn.aisa.one/a_(1).png", "https://cdn.aisa.one/a_(1).png"),
        ("![a](https://cdn.aisa.one/a_(1).png)", "https://cdn.aisa.one/a_(1).png"),
        ("[![a](https://cdn.aisa.one/a.png)](https://aisa.one/page)", "https://cdn.aisa.one/a.png"),
        ("https://cdn.aisa.one/a?sig=ab_", "https://cdn.aisa.one/a?sig=ab_"),
        ("Image URL: https://cdn.aisa.one/result/abc", "https://cdn.aisa.one/result/abc"),
        ("Here is the generated picture: https://cdn.aisa.one/r/abc", "https://cdn.aisa.one/r/abc"),
        ("这是您的图片：https://cdn.aisa.one/r/abc", "https://cdn.aisa.one/r/abc"),
        ("Sorry for the delay. Your image: https://cdn.aisa.one/a.png", "https://cdn.aisa.one/a.png"),
    ],
)
def test_a_url_is_read_as_it_was_meant(text: str, url: str) -> None:
    assert shown(read(json.dumps(message(content=text)).encode())) == [url]


def test_images_of_several_places_are_counted_once() -> None:
    both = message(content=f"Here: ![a]({URL})", images=[{"image_url": {"url": URL}}, {"image_url": URL}])
    assert shown(read(json.dumps(both).encode())) == [URL]
    forms = {"data": [{"url": URL, "b64_json": IMAGES["base64"][0]}]}
    assert len(read(json.dumps(forms).encode()).parts) == 1


NOTHING: list[Any] = [
    message(content="I can't create images of that. See https://aisa.one/policy.png"),
    message(content="I'm sorry, but I cannot edit https://example.com/other.png because of our policy."),
    message(content="This is not possible: https://aisa.one/a.png"),
    message(content="无法生成图片：https://aisa.one/a.png"),
    message(content="Learn more at https://aisa.one/docs"),
    message(content="To make images, upgrade: https://aisa.one/pricing"),
    message(
        content="No.", annotations=[{"type": "url_citation", "url_citation": {"url": "https://example.com/a.png"}}]
    ),
    message(content="", refusal="See https://aisa.one/policy.png"),
    message(role="user", content=[{"type": "image_url", "image_url": {"url": URL}}]),
    {"choices": [], "input": {"image": URL}},
    {"choices": [], "request": {"messages": [{"content": [{"image": URL}]}]}},
    {"messages": [{"role": "user", "content": [{"image": URL}]}], "choices": None},
    {"choices": [], "input_image_url": URL, "thumbnail": URL, "docs_url": URL, "logo": URL},
    {"error": {"message": f"Failed to load {URL}", "code": "odd"}},
    {"code": "odd", "message": f"Could not download {URL}"},
    {"choices": [], "links": {"page": "https://aisa.one/x"}, "homepage_url": "https://aisa.one/x"},
    {"choices": [], "file": "data:text/plain;base64,aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQ="},
]


@pytest.mark.parametrize("value", NOTHING, ids=lambda value: json.dumps(value)[:50])
@pytest.mark.parametrize("frame", ["plain", "stream"])
def test_what_is_not_a_result_is_not_taken_for_one(value: Any, frame: str) -> None:
    with pytest.raises(UnreadableAnswerError):
        read(FRAMES[frame](value))


@pytest.mark.parametrize(
    "body",
    [
        b"<html><img src='https://cdn.aisa.one/logo.png'></html>",
        b"<center><img src='https://cdn.aisa.one/logo.png'></center>",
        json.dumps(message(content=[{"image": URL}])).encode()[:-20],
        b"data: " + json.dumps(message(content=[{"image": URL}])).encode()[:-20],
    ],
)
def test_a_page_or_json_that_is_cut_off_is_not_searched(body: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        read(body)


INPUT = "https://example.com/in.png"
ECHOES = [
    message(content=[{"type": "image_url", "image_url": {"url": INPUT}}]),
    message(content=f"![your image]({INPUT})"),
    message(content="", images=[IMAGES["data URI"][0]]),
    message(content="", images=[IMAGES["base64"][0].rstrip("=")]),
    {"data": [{"b64_json": IMAGES["base64"][0]}]},
    message(content="Here: https://example.com/prompt.png"),
]
SENT = {
    "marks": [mark_url(INPUT), mark_bytes(SMALL), mark_bytes(LARGE)],
    "prompt": "like https://example.com/prompt.png",
}


@pytest.mark.parametrize("value", ECHOES, ids=lambda value: json.dumps(value)[:50])
def test_an_input_image_that_is_repeated_is_not_a_result(value: Any) -> None:
    with pytest.raises(UnreadableAnswerError):
        read(json.dumps(value).encode(), **SENT)
    value = {**value, "images": [{"url": URL}]}
    assert shown(read(json.dumps(value).encode(), **SENT)) == [URL]


def test_input_images_beside_results_are_dropped() -> None:
    parts = [{"image_url": {"url": INPUT}}, {"image": IMAGES["large base64"][0]}, {"image": URL}]
    assert shown(read(json.dumps(message(content=parts)).encode(), **SENT)) == [URL]


def test_bytes_in_the_documented_place_are_a_result_even_if_they_are_those_that_were_sent() -> None:
    body = json.dumps(message(content=[{"image": IMAGES["base64"][0]}])).encode()
    assert shown(read(body, **SENT)) == [SMALL]


@given(st.binary(min_size=1, max_size=400))
def test_an_image_has_one_mark_in_every_form(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    forms = [text, text.rstrip("="), f"data:image/png;base64,{text}"]
    assert {mark_base64(form) for form in forms} == {mark_bytes(data)}
    if len(data) > 100:
        assert mark_bytes(data[:-1]) != mark_bytes(data)


def test_what_is_said_beside_an_image_is_kept_without_it() -> None:
    answer = read(json.dumps(message(content=f"Here it is:\n\n![a fox]({URL})\n\nEnjoy!")).encode())
    assert shown(answer) == [URL]
    assert answer.notes == ("Here it is:\n\n\n\nEnjoy!",)


HOSTILE = [
    *(
        "![](",
        "![](http://a",
        "<img src=",
        "<img ",
        "data:image/png;base64,",
        "iVBORw0KGgoA ",
        "[",
        '"',
        ". ",
        "image: ",
    ),
    *("```", "https://", "\n", "&amp;", "\\/", "url:", "a.a.", "{", "[img]http://", "data:", "can't "),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_has_no_image_and_no_other_error(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    for place in ("content", "images list of texts", "call of a tool"):
        try:
            read(json.dumps(PLACES[place](text)).encode())
        except UnreadableAnswerError:
            continue


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_body_is_an_answer_or_an_error_of_ours(body: bytes) -> None:
    for framed in (body, b"data: " + body, b"[" + body, gzip.compress(body)):
        try:
            read(framed)
        except UnreadableAnswerError:
            continue
