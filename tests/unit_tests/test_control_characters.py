"""Control characters: shown escaped, and removed from what a service says."""

from __future__ import annotations

import logging
import pickle
import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wan import ImageResult, Lineage, WanConfigurationError
from langchain_wan._services.foreign_text import clean_text, make_storable
from langchain_wan._text.control_characters import escape_line, escape_text, has_control, remove_control
from langchain_wan._text.logs import logger
from langchain_wan.errors import InvalidImageRequestError, StoreError, error_from_json, error_to_json
from langchain_wan.runnables import build_request

ANY_TEXT = st.text(st.characters(), max_size=80)  # lone surrogates too
UNSAFE = {"Cc", "Cs", "Zl", "Zp"}
MARKS = "\u061c\u200e\u200f"
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_unsafe(char: str) -> bool:
    return (
        unicodedata.category(char) in UNSAFE or unicodedata.bidirectional(char) in BIDI or char in "\u061c\u200e\u200f"
    )


def test_every_character_of_unicode_that_controls_is_escaped_and_no_letter_is() -> None:
    for code in range(0x110000):
        char = chr(code)
        if is_unsafe(char):
            assert has_control(char)
        elif unicodedata.category(char) != "Cf":
            assert escape_line(char) == char


@given(ANY_TEXT)
def test_what_is_shown_holds_no_control_character(text: str) -> None:
    assert not any(is_unsafe(char) for char in escape_line(text))
    assert escape_line(escape_line(text)) == escape_line(text)
    assert not any(is_unsafe(char) and char not in "\n\t" for char in escape_text(text) + remove_control(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nfox", "a fox"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("gnp\u202eexe", r"gnp\u202eexe"),
        ("\ud800", r"\ud800"),
        ("\U0001f469\u200d\U0001f680 caf\u00e9 \u732b", "\U0001f469\u200d\U0001f680 caf\u00e9 \u732b"),
    ],
)
def test_a_text_is_shown_as_one_line(text: str, shown: str) -> None:
    assert escape_line(text) == shown


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("\x1b[31ma red\x1b[0m fox", "a red fox"),
        ("\x1b]52;c;ZXZpbA==\x07a fox\x1b]0;t\x1b\\", "a fox"),
        ("\x9d0;t\x9ca fox", "a fox"),
        ("a\r\nfox\x00\u2028\tend\ud800", "a\nfox\n\tend"),
    ],
)
def test_a_text_of_a_service_is_read_without_what_controls_a_terminal(text: str, read: str) -> None:
    assert make_storable({"note": [text]}) == {"note": [read]}
    assert clean_text(text) == " ".join(read.split())


def test_an_error_shows_a_value_with_its_control_characters_escaped() -> None:
    error = StoreError("\x1b]0;t\x07 is missing\nforged", next_step="\u202estep", advice="\x1b[2J", code="\x07")
    copies = [error, pickle.loads(pickle.dumps(error)), error_from_json(error_to_json(error))]  # noqa: S301  made here
    for copy in copies:
        assert str(copy) == r"\x1b]0;t\x07 is missing forged \u202estep"
        assert (copy.advice, copy.code) == (r"\x1b[2J", r"\x07")
    assert str(WanConfigurationError("a\x1b[2J\nb")) == r"a\x1b[2J b"


def test_an_error_of_a_store_that_somebody_changed_is_escaped_when_it_is_read() -> None:
    values = error_to_json(StoreError("a"))
    values["attributes"]["what"] = "\x1b]0;t\x07"
    assert str(error_from_json(values)) == r"\x1b]0;t\x07"


@pytest.mark.parametrize("name", ["a\nb", "\x1b]0;t\x07", "a\u202eb"])
def test_an_operation_id_is_one_line_without_control_characters(name: str) -> None:
    with pytest.raises(InvalidImageRequestError, match="operation_id: an id is one line"):
        build_request({"prompt": "a fox", "operation_id": name})


def test_what_is_printed_of_a_result_and_of_a_lineage_holds_no_control_character() -> None:
    facts = {"id": "img_0000000000000", "mime_type": "image/png", "width": 8, "height": 8, "size_bytes": 1}
    image = {**facts, "url": "https://x.org/\x1b]0;t\x07", "sha256": "0" * 64}  # a client may post what it likes
    result = ImageResult.model_validate(
        {"images": [image], "model": "wan\x1b[2J", "prompt": "\x1b", "cost_usd": "0.03", "operation_id": "\x1b"}
    )
    lineage = Lineage("img_0000000000000", None, "\x1b]0;t\x07", "wan", Decimal(0))
    assert not any(has_control(line) for line in result.describe().splitlines())
    assert not any(map(has_control, (str(result), repr(result), str(lineage), repr(lineage), lineage._repr_html_())))


def test_a_log_holds_no_control_character(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("\x1b]0;title\x07")
    with caplog.at_level(logging.WARNING, logger="langchain_wan"):
        logger.warning("%s failed: %s", "a\nb\u202e", error, exc_info=error)
    line, trace = caplog.text.split("\n", 1)
    assert line.endswith(r"a b\u202e failed: \x1b]0;title\x07")
    assert r"\x1b]0;title\x07" in trace
    assert "\x1b" not in caplog.text
