"""Images as HTML for a notebook."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wan._media.html import Branch, Card, gallery, tree
from tests.support.html_fragments import Parsed, check_fragment

PNG = b"\x89PNG\r\n\x1a\n and so on"
HOSTILE = [
    "<script>alert(1)</script>",
    "</div></figure><script src=//evil.org></script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" style="background:url(https://evil.org)',
    "javascript:alert(1)",
    "<!-- ",
    "]]>",
    "<style>*{display:none}</style>",
    "&lt;script&gt;&amp;quot;",
    "\x00<\u202eiframe>",
]


def test_each_image_is_shown_inline_with_its_caption() -> None:
    parsed = Parsed(gallery("two foxes", [Card(PNG, "img_1 · 8x8"), Card(PNG, "img_2 · 8x8")]))
    sources = [value for name, value in parsed.attributes if name == "src"]
    assert sources == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"] * 2
    assert [value for name, value in parsed.attributes if name == "alt"] == ["img_1 · 8x8", "img_2 · 8x8"]
    assert parsed.text == "two foxesimg_1 · 8x8img_2 · 8x8"


def test_an_image_whose_bytes_are_gone_keeps_its_place() -> None:
    parsed = Parsed(gallery("fox", [Card(None, "img_1"), Card(PNG, "img_2")]))
    assert parsed.tags.count("figure") == 2
    assert parsed.tags.count("img") == 1
    assert "not stored" in parsed.text
    assert "img_1" in parsed.text


def test_a_card_shows_details_and_what_it_was_made_from() -> None:
    parsed = Parsed(gallery("fox", [Card(b"\xff\xd8\xff", "img_1", "8x8 · $0.03", [(PNG, "img_0")])]))
    assert parsed.text == "foximg_18x8 · $0.03from "
    sources = [str(value)[:16] for name, value in parsed.attributes if name == "src"]
    assert sources == ["data:image/jpeg;", "data:image/png;b"]


def test_a_gallery_of_nothing_shows_its_title() -> None:
    assert Parsed(gallery("nothing came", [])).text == "nothing came"


def check(title: str, caption: str) -> None:
    cards = [Card(PNG, caption, title, [(PNG, caption), (None, title)]), Card(None, caption)]
    branch = Branch(cards[0], [Branch(cards[1]), Branch(cards[0])])
    for shown, pictures in ((gallery(title, cards), 2), (tree(branch), 4)):
        check_fragment(shown, pictures)


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_text(text: str) -> None:
    check(text, text)
    shown = Parsed(gallery(text, []))
    assert shown.text == text.replace("\x00", r"\x00").replace("\u202e", r"\u202e")


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_becomes_markup(title: str, caption: str) -> None:
    check(title, caption)


def test_it_reads_in_dark_and_light() -> None:
    fragment = gallery("fox", [Card(PNG, "a"), Card(None, "b")])
    assert "color:#" not in fragment.replace(" ", "")
    assert "background" not in fragment
    assert "max-width:100%" in fragment
