"""Arguments as language models write them mean what a person would read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ValidationError

from langchain_wan import WanImageInput, WanImageTool
from langchain_wan._tool.arguments import read_count, read_reference, read_references
from langchain_wan.requests import MAX_N, MAX_PROMPT, MAX_REFERENCES
from tests.support.examples import examples

FOX, WOLF = "img_k3v9x2abq7m1t", "img_0000000000000"
URL = "https://a.example/b,c.png?d=1,2"


@pytest.mark.parametrize(
    "text",
    [
        *(FOX, f" {FOX}\n", FOX.upper(), f"`{FOX}`", f'"{FOX}"', f"'{FOX}'", f"<{FOX}>", f"{FOX}.png", f"{FOX}.JPG"),
        *(f"![a fox]({FOX})", f"[{FOX}](attachment)", f"![{FOX}](https://a.example/1.png)", f"({FOX})", f"id: {FOX}"),
        *(f"/mnt/data/{FOX}.png", f"wan://{FOX}", f"**{FOX}**", f"{FOX},", f"the image {FOX}."),
    ],
)
def test_an_id_is_read_in_whatever_it_is_wrapped(text: str) -> None:
    assert read_reference(text) == FOX
    assert list(WanImageInput.model_validate({"prompt": "x", "images": text}).images) == [FOX]
    assert list(WanImageInput.model_validate({"prompt": "x", "images": [text]}).images) == [FOX]


@pytest.mark.parametrize("text", ["upload_1", "Upload 1", "UPLOAD-1", "upload_1.png", "`upload_1`", "upload1"])
def test_the_name_of_an_upload_is_read_in_any_spelling(text: str) -> None:
    assert read_reference(text) == "upload_1"


@pytest.mark.parametrize("text", [URL, f" {URL} ", f"<{URL}>", f"![a fox]({URL})", f'![a fox]({URL} "a title")'])
def test_a_url_stays_as_it_is(text: str) -> None:
    assert read_references(text) == [URL]


@pytest.mark.parametrize(
    "text", [f"{FOX}x", f"x{FOX}", "img_short", "upload_0", f"{FOX} or {WOLF}", "a fox", "../fox.png"]
)
def test_what_means_no_image_or_two_is_not_guessed(text: str) -> None:
    assert read_reference(text) == text


@pytest.mark.parametrize(
    "value",
    [
        [FOX, WOLF],
        f'["{FOX}", "{WOLF}"]',
        f"['{FOX}', '{WOLF}']",
        f"[{FOX}, {WOLF}]",
        f"{FOX}, {WOLF}",
        f"{FOX},{WOLF}",
        f"{FOX} {WOLF}",
        f"{FOX}\n{WOLF}",
        f"![one]({FOX}) ![two]({WOLF})",
        [f"{FOX}, {WOLF}"],
        [{"id": FOX}, {"url": WOLF}],
        f'[{{"id": "{FOX}"}}, {{"image": "{WOLF}"}}]',
        [FOX, None, "", WOLF],
        (FOX, WOLF),
    ],
    ids=str,
)
def test_a_list_of_images_is_read_in_any_form(value: Any) -> None:
    assert list(WanImageInput.model_validate({"prompt": "x", "images": value}).images) == [FOX, WOLF]


@pytest.mark.parametrize("value", [None, "", "  ", "[]", "null", "None", [], [None], [""], ()])
def test_no_images_are_no_images(value: Any) -> None:
    assert list(WanImageInput.model_validate({"prompt": "x", "images": value}).images) == []


@pytest.mark.parametrize("value", ["[" * 5000, "{}{}", "nothing", "[not json"])
def test_text_that_names_no_image_is_never_taken_for_no_images(value: str) -> None:
    assert len(WanImageInput.model_validate({"prompt": "x", "images": value}).images) == 1


@pytest.mark.parametrize(
    ("value", "count"),
    [(None, 1), ("", 1), ("null", 1), ("2", 2), (" 2 ", 2), ('"2"', 2), ("2.0", 2), (2.0, 2), (2, 2), ("04", 4)],
)
def test_a_number_is_read_in_any_form(value: Any, count: int) -> None:
    assert WanImageInput.model_validate({"prompt": "x", "n": value}).n == count


@pytest.mark.parametrize("value", [0, 5, -1, 1.5, "1.5", "two", True, "true", [2], {}, float("nan"), "9" * 30])
def test_another_number_of_images_is_refused_and_named(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"\nn\n"):
        WanImageInput.model_validate({"prompt": "x", "n": value})


@pytest.mark.parametrize(
    ("value", "model"),
    [
        (None, "wan2.7-image"),
        ("", "wan2.7-image"),
        ("WAN2.7-Image-Pro", "wan2.7-image-pro"),
        (" wan2.7_image_pro ", None),
    ],
)
def test_a_model_is_read_in_any_spelling(value: Any, model: str | None) -> None:
    assert WanImageInput.model_validate({"prompt": "x", "model": value}).model == (model or "wan2.7-image-pro")


def test_exposed_parameters_are_read_in_any_form() -> None:
    tool = WanImageTool(expose=("size", "seed", "watermark", "negative_prompt"))
    written = {"prompt": "x", "size": " 1k ", "seed": "42", "watermark": "True", "negative_prompt": ""}
    arguments = tool.args_schema.model_validate(written)
    assert (arguments.size, arguments.seed, arguments.watermark, arguments.negative_prompt) == ("1K", 42, True, None)
    nothing = dict.fromkeys(("size", "seed", "watermark", "negative_prompt"))
    assert tool.args_schema.model_validate({"prompt": "x", **nothing}).seed is None


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("tool", [WanImageTool(), WanImageTool(max_n=2, max_references=1, expose=("size", "seed"))])
def test_the_schema_is_one_that_strict_mode_takes(tool: WanImageTool, strict: bool | None) -> None:
    # https://platform.openai.com/docs/guides/structured-outputs (2026-11)
    text = json.dumps(convert_to_openai_tool(tool, strict=strict))
    assert not any(word in text for word in ('"default"', "minLength", "maxLength", "$ref"))


def test_limits_stand_in_the_descriptions_too() -> None:
    properties = WanImageInput.model_json_schema()["properties"]
    assert str(MAX_PROMPT) in properties["prompt"]["description"]
    assert f"at most {MAX_REFERENCES}" in properties["images"]["description"]
    assert f"1 to {MAX_N}" in properties["n"]["description"]
    narrow = WanImageTool(max_n=2, max_references=3).args_schema.model_json_schema()["properties"]
    assert "at most 3." in narrow["images"]["description"]
    assert "1 to 2;" in narrow["n"]["description"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@examples(3)
@given(JSON_VALUES)
def test_whatever_a_model_writes_is_arguments_or_a_validation_error(value: Any) -> None:
    read_references(value)
    read_count(value)
    for name in ("images", "n", "model"):
        try:
            WanImageInput.model_validate({"prompt": "x", name: value})
        except ValidationError:
            continue
