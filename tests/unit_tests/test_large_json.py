"""JSON with images in it is read and written as `json` does it."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wan._media import data_uri, formats
from langchain_wan._media.large_json import HEAD, LONG, Span, Whole, dumps, loads

DATA = base64.b64encode(random.Random(1).randbytes(LONG)).decode()
URI = f"data:image/png;base64,{DATA}"


def plain(value: Any) -> Any:
    """A value whose spans are strings again."""
    if isinstance(value, Span):
        return value.body[value.start : value.end].decode()
    if isinstance(value, dict):
        return {plain(name): plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def test_a_long_string_stays_in_the_body() -> None:
    body = json.dumps({"image": URI, "text": "a fox", "n": [1, URI]}).encode()
    value = loads(body)
    assert isinstance(value["image"], Span)
    assert value["image"].body is body
    assert value["image"] == URI[:HEAD]
    assert plain(value) == json.loads(body)
    assert value["text"] == "a fox"


@pytest.mark.parametrize(
    "text",
    [
        DATA + '"',
        DATA + "\\",
        DATA.replace("A", "\n", 1),
        "\u72d0" * LONG,
        DATA + "\u72d0",
        "x" * LONG,
        DATA[: LONG - 3],
        '"' * (LONG + 1),
    ],
    ids=["quote", "backslash", "line", "other letters", "other letters behind", "letters", "short", "quotes"],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_other_long_strings_are_read_as_json_reads_them(text: str, ascii_only: bool) -> None:
    body = json.dumps({"a": text, "b": [text, {"c": text}], text: 1}, ensure_ascii=ascii_only).encode()
    assert plain(loads(body)) == json.loads(body)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": "', b'"' + DATA.encode(), b'{"a" ' + DATA.encode(), b"\xff" * LONG]
)
def test_text_that_is_not_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  json's own
        loads(body)


def test_an_answer_of_very_many_strings_is_left_to_json() -> None:
    body = json.dumps(["x"] * 30_000 + [URI]).encode()
    assert not isinstance(loads(body)[-1], Span)


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([URI, DATA, f'{DATA}"', f"{DATA}\\", "\\", '"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(VALUES, st.booleans())
def test_any_value_is_read_as_json_reads_it(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    try:
        expected = json.loads(body)
    except ValueError:
        return
    assert plain(loads(body)) == expected


@given(VALUES, st.lists(st.sampled_from([URI, DATA]), max_size=3))
def test_any_value_is_written_as_json_writes_it(value: Any, wholes: list[str]) -> None:
    body = {"value": value, "images": [{"url": Whole(text)} for text in wholes]}
    assert dumps(body) == json.dumps(body).encode()


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: f"data:image/png;base64,{data}"], ids=["bare", "uri"])
def test_an_image_is_decoded_from_the_body(wrap: Any) -> None:
    data = random.Random(2).randbytes(3 * 2**20 + 1)
    text = wrap(base64.b64encode(data).decode())
    (image,) = loads(json.dumps([text]).encode())
    assert isinstance(image, Span)
    assert data_uri.decode_image_text(image) == data == data_uri.decode_image_text(text)


@pytest.mark.parametrize("wrong", [DATA[:-8] + "=" + DATA[-7:], DATA + "!", DATA + "A", DATA[: LONG + 1] + " !!"])
def test_text_that_is_not_base64_is_an_error_of_ours(wrong: str) -> None:
    (image,) = loads(json.dumps([wrong]).encode())
    with pytest.raises(formats.NotAnImageError):
        data_uri.decode_image_text(image)


def test_base64_that_is_broken_by_blanks_is_decoded() -> None:
    data = random.Random(1).randbytes(LONG)
    text = base64.b64encode(data).decode()
    broken = " ".join(text[start : start + 76] for start in range(0, len(text), 76))
    (image,) = loads(json.dumps([broken]).encode())
    assert isinstance(image, Span)
    assert data_uri.decode_image_text(image) == data


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"a":NaN}', b'{"a":1e999}', b'{"a":1,"a":2}', b'"\\ud800"', b"-0", b"12345678901234567890123", b"[" * 500),
        *(
            b"[" * 500 + b"]" * 500,
            b'{"a":01}',
            b"\xef\xbb\xbf{}",
            b'"\x01"',
            b" ",
            b'{"a":1}x',
            b"[" + b"9" * 5000 + b"]",
        ),
        b'{"text":"' + b'\\"' * 50_000 + b'","image":"' + b"A" * 70_000 + b'"}',
    ],
)
def test_the_fast_parser_gives_what_json_gives_or_refuses_what_json_refuses(body: bytes) -> None:
    try:
        expected = repr(json.loads(body))
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            loads(body)
    else:
        assert repr(loads(body)) == expected
