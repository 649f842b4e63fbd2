"""Images as HTML for a notebook."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wan._media.html import Branch, Card, Picture, contact_sheet, gallery, tree
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
    cards = [Card(PNG, caption, title, [(PNG, caption), (None, title)], text=title), Card(None, caption, text=caption)]
    branch = Branch(cards[0], [Branch(cards[1]), Branch(cards[0])])
    for shown, pictures in ((gallery(title, cards, caption), 2), (tree(branch), 2)):
        check_fragment(shown, pictures)
    sheet = contact_sheet(title, caption, [Picture(title, caption, PNG, caption, "", [(PNG, title), (None, caption)])])
    parsed = Parsed(sheet.partition("<main>")[2].partition("</main>")[0])
    assert parsed.tags.count("img") == 2
    assert parsed.open == []
    assert not {name for name, _ in parsed.attributes if name.startswith("on")}
    assert "script" not in parsed.tags


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_stays_text(text: str) -> None:
    check(text, text)
    shown = Parsed(gallery(text, []))
    assert shown.text == text.replace("\x00", r"\x00").replace("\u202e", r"\u202e")


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_becomes_markup(title: str, caption: str) -> None:
    check(title, caption)


def styles_of(fragment: str, tag: str) -> list[str]:
    return re.findall(rf'<{tag}[^>]* style="([^"]*)"', fragment)


LONG = "a red fox in fresh snow " * 200


def test_a_long_prompt_is_clamped_and_shown_whole_beside_the_pointer() -> None:
    for fragment in (gallery(LONG, [], "wan2.7-image"), tree(Branch(Card(PNG, "img_1", text=LONG)))):
        ((style, text),) = [
            (attributes.partition('style="')[2], text)
            for attributes, text in re.findall(r"<div ([^>]*)>([^<]*)</div>", fragment)
            if LONG.strip() in text
        ]
        assert "-webkit-line-clamp:3" in style
        assert "overflow:hidden" in style
        assert f'title="{text}"' in fragment


def test_a_line_of_edits_is_one_column_and_only_several_parents_are_indented() -> None:
    branch = Branch(Card(PNG, "img_0"))
    for number in range(2_000):  # as deep as no stack is
        branch = Branch(Card(PNG, f"img_{number}"), [branch])
    line = tree(branch)
    assert "padding-left" not in line
    assert line.count("<figure") == 2_001
    assert line.count("made from") == 2_000
    assert tree(Branch(Card(PNG, "img_1"), [branch.parents[0], Branch(Card(PNG, "img_2"))])).count("padding-left") == 1


def test_a_row_of_a_lineage_leaves_the_text_its_room_on_a_phone() -> None:
    # A picture of fixed width beside a text that takes the rest and may be narrower than its longest word.
    fragment = tree(Branch(Card(PNG, "img_1", text=LONG), [Branch(Card(None, "img_2"))]))
    pictures = [*styles_of(fragment, "img"), *(style for style in styles_of(fragment, "div") if "dashed" in style)]
    assert len(pictures) == 2
    assert all("flex:none" in style and "width:96px" in style for style in pictures)
    assert all("flex:1" in style and "min-width:0" in style for style in styles_of(fragment, "figcaption"))


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_at_phone_width_nothing_is_wider_than_the_page_and_each_text_has_its_room(tmp_path: Path) -> None:
    deep = Branch(Card(PNG, "img_0", text=LONG))
    for number in range(6):
        deep = Branch(Card(PNG, f"img_{number}", text=LONG), [deep, Branch(Card(None, "img_9", text="w" * 400))])
    script = """
    <script>onload = () => {
      const widths = [...document.querySelectorAll("figcaption")].map(each => each.clientWidth)
      document.body.innerHTML = `narrowest ${Math.min(...widths)} page ${document.documentElement.scrollWidth}`
    }</script>"""
    (tmp_path / "inner.html").write_text(f"<!doctype html><body style='margin:8px'>{tree(deep)}{script}")
    (tmp_path / "page.html").write_text(
        "<!doctype html><iframe src='inner.html' style='width:390px;height:900px;border:0'></iframe>"
        "<script>onload = () => setTimeout(() => { document.title = frames[0].document.body.innerHTML }, 0)</script>"
    )
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --allow-file-access-from-files --dump-dom"
    command = ["chromium", *options.split(), f"--user-data-dir={tmp_path / 'profile'}"]
    page = subprocess.run(
        [*command, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    match = re.search(r"narrowest (\d+) page (\d+)", page)
    assert match is not None
    assert int(match[1]) >= 120
    assert int(match[2]) <= 390


def test_a_contact_sheet_shows_what_an_edit_was_made_from_and_clamps_its_prompt() -> None:
    parents = [(PNG, "img_1"), (None, "img_2")]
    sheet = contact_sheet("prompts.txt", "1 image", [Picture(LONG, "img_3", PNG, "img_3.png", "", parents)])
    assert sheet.count("<img") == 2
    assert 'alt="img_1"' in sheet
    assert "img_2</div>" in sheet
    assert '<div class="prompt" tabindex="0"' in sheet
    assert re.search(r"\.prompt \{[^}]*-webkit-line-clamp: 4[^}]*overflow: hidden", sheet)
    assert "from" not in contact_sheet("", "", [Picture("a fox", "img_3", PNG, "img_3.png")]).partition("<main>")[2]


def test_it_reads_in_dark_and_light() -> None:
    fragment = gallery("fox", [Card(PNG, "a"), Card(None, "b")])
    assert "color:#" not in fragment.replace(" ", "")
    assert "background" not in fragment
    assert "max-width:100%" in fragment
