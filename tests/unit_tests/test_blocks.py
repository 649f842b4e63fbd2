"""Image blocks of messages, in every form that LangChain and its front ends use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_core.messages.content import create_image_block

from langchain_wan._media.blocks import block_source, find_text, is_image_block
from tests.support.image_blocks import NO_SOURCE

URL = "https://example.com/a.png"
DATA = "iVBORw0KGgo="
PNG_URI = f"data:image/png;base64,{DATA}"
JPEG_URI = f"data:image/jpeg;base64,{DATA}"

OCTETS, PDF_TYPE = "application/octet-stream", "application/pdf"


def _label(data: str, mime_type: str) -> str:
    return f"data:{mime_type};base64,{data}"


FORMS: dict[str, tuple[dict[str, Any], str | bytes]] = {
    "v1 url": ({"type": "image", "url": URL}, URL),
    "v1 url that is a data URI": ({"type": "image", "url": JPEG_URI}, JPEG_URI),
    "v1 base64": ({"type": "image", "base64": DATA, "mime_type": "image/jpeg"}, JPEG_URI),
    "v1 base64 without a type": ({"type": "image", "base64": DATA}, PNG_URI),
    "v1 with an id": ({"type": "image", "id": "lc_1", "base64": DATA, "mime_type": "image/png"}, PNG_URI),
    "v1 with empty fields": ({"type": "image", "url": None, "base64": DATA, "mime_type": None}, PNG_URI),
    "v0 url": ({"type": "image", "source_type": "url", "url": URL}, URL),
    "v0 base64": ({"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/jpeg"}, JPEG_URI),
    "OpenAI chat dict": ({"type": "image_url", "image_url": {"url": URL}}, URL),
    "OpenAI chat dict with detail": ({"type": "image_url", "image_url": {"url": PNG_URI, "detail": "low"}}, PNG_URI),
    "OpenAI chat string": ({"type": "image_url", "image_url": URL}, URL),
    "OpenAI responses": ({"type": "input_image", "image_url": URL}, URL),
    "OpenAI responses data URI": ({"type": "input_image", "image_url": PNG_URI, "detail": "auto"}, PNG_URI),
    "Anthropic base64": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": DATA}},
        JPEG_URI,
    ),
    "Anthropic url": ({"type": "image", "source": {"type": "url", "url": URL}}, URL),
    "Google media": ({"type": "media", "mime_type": "image/jpeg", "data": DATA}, JPEG_URI),
    "Google media bytes": ({"type": "media", "mime_type": "image/jpeg", "data": b"\x89PNG"}, b"\x89PNG"),
    "Google media file": ({"type": "media", "mime_type": "image/png", "file_uri": URL}, URL),
    "LangChain.js": ({"type": "image", "mimeType": "image/jpeg", "data": DATA}, JPEG_URI),
    "LangChain.js data URI": ({"type": "image", "mimeType": "image/jpeg", "data": PNG_URI}, PNG_URI),
    "LangChain.js url": ({"type": "image", "mimeType": "image/png", "url": URL}, URL),
    "Wan's own part": ({"type": "image", "image": URL}, URL),
    "bytes": ({"type": "image", "base64": b"\x89PNG"}, b"\x89PNG"),
    "no label": ({"type": "image", "base64": DATA, "mime_type": "application/octet-stream"}, _label(DATA, OCTETS)),
    "half a label": ({"type": "image", "base64": DATA, "mime_type": "image"}, _label(DATA, "image")),
    "star": ({"type": "image", "base64": DATA, "mime_type": "image/*"}, _label(DATA, "image/*")),
    "image labelled as a PDF": (
        {"type": "image", "mime_type": "application/pdf", "base64": DATA},
        _label(DATA, PDF_TYPE),
    ),
    "file": ({"type": "file", "base64": DATA, "mime_type": "image/png"}, PNG_URI),
    "file without a label": ({"type": "file", "base64": DATA, "mime_type": OCTETS}, _label(DATA, OCTETS)),
    "file by URL": ({"type": "file", "url": URL}, URL),
    "OpenAI file": ({"type": "file", "file": {"file_data": PNG_URI, "filename": "a.png"}}, PNG_URI),
    "OpenAI file without a type": (
        {"type": "file", "file": {"file_data": f"data:;base64,{DATA}"}},
        f"data:;base64,{DATA}",
    ),
    "OpenAI input_file": ({"type": "input_file", "file_data": JPEG_URI, "filename": "a.jpg"}, JPEG_URI),
    "Google inline_data": ({"inline_data": {"mime_type": "image/jpeg", "data": DATA}}, JPEG_URI),
    "Google inlineData": ({"inlineData": {"mimeType": "image/jpeg", "data": DATA}}, JPEG_URI),
    "Google file_data": ({"file_data": {"mime_type": "image/png", "file_uri": URL}}, URL),
    "media with an image inside": ({"type": "media", "data": DATA}, PNG_URI),
    "Bedrock": ({"image": {"format": "jpeg", "source": {"bytes": b"\xff\xd8\xff"}}}, b"\xff\xd8\xff"),
    "Bedrock with a type": ({"type": "image", "image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}, b"\x89PNG"),
    "Bedrock base64": ({"image": {"format": "jpeg", "source": {"bytes": DATA}}}, JPEG_URI),
    "AI SDK file": ({"type": "file", "mediaType": "image/png", "url": PNG_URI}, PNG_URI),
    "AI SDK image": ({"type": "image", "image": f"{DATA}AAAA", "mediaType": "image/png"}, f"{PNG_URI}AAAA"),
    "AG-UI binary": ({"type": "binary", "mimeType": "image/jpeg", "data": DATA}, JPEG_URI),
    "AG-UI image": (
        {"type": "image", "source": {"type": "data", "value": f"{DATA}AAAA", "mimeType": "image/png"}},
        f"{PNG_URI}AAAA",
    ),
    "AG-UI URL": ({"type": "image", "source": {"type": "url", "value": URL}}, URL),
    "MCP": ({"type": "image", "data": DATA, "mimeType": "image/png"}, PNG_URI),
    "MCP resource": (
        {"type": "resource", "resource": {"blob": DATA, "mimeType": "image/png", "uri": "x://1"}},
        PNG_URI,
    ),
    "not standard": ({"type": "non_standard", "value": {"type": "input_image", "image_url": URL}}, URL),
    "empty": ({"type": "image", "url": "", "base64": "", "data": ""}, b""),
    "empty inside": ({"type": "image", "source": {"type": "base64", "data": ""}}, b""),
    "no type": ({"image_url": {"url": URL}}, URL),
}

PDF = "JVBERi0xLjcKJeLjz9MK"
NO_IMAGES = {
    "text": {"type": "text", "text": "hello"},
    "audio": {"type": "audio", "base64": DATA, "mime_type": "audio/wav"},
    "file": {"type": "file", "base64": PDF, "mime_type": "application/pdf"},
    "file without a type": {"type": "file", "file": {"file_data": f"data:;base64,{PDF}", "filename": "a.pdf"}},
    "video media": {"type": "media", "mime_type": "video/mp4", "data": PDF},
    "media without a type": {"type": "media", "data": PDF},
    "file of a provider": {"type": "file", "file_id": "file-1"},
    "document by URL": {"type": "file", "url": "https://example.com/a.pdf"},
    "video labelled as an image": {"type": "image", "mime_type": "video/mp4", "base64": PDF},
    "tool use": {"type": "tool_use", "id": "1", "name": "x", "input": {}},
    "reasoning": {"type": "reasoning", "reasoning": "hm"},
    "empty": {},
    "string": "image",
    "none": None,
    "list": ["image"],
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_found_in_every_form(form: str) -> None:
    block, source = FORMS[form]
    assert is_image_block(block)
    assert block_source(block) == source


@pytest.mark.parametrize("form", NO_SOURCE)
def test_a_block_that_only_points_to_a_providers_store_holds_nothing(form: str) -> None:
    assert is_image_block(NO_SOURCE[form])
    assert block_source(NO_SOURCE[form]) is None


@pytest.mark.parametrize("form", NO_IMAGES)
def test_other_blocks_are_no_images(form: str) -> None:
    assert not is_image_block(NO_IMAGES[form])


def test_langchains_own_constructor_makes_blocks_that_are_read() -> None:
    assert block_source(dict(create_image_block(url=URL))) == URL
    assert block_source(dict(create_image_block(base64=DATA, mime_type="image/jpeg"))) == JPEG_URI
    assert block_source(dict(create_image_block(file_id="file-1"))) is None


@pytest.mark.parametrize("form", ["v1 url", "v1 base64", "OpenAI chat dict", "Anthropic base64", "Anthropic url"])
def test_langchains_translation_to_standard_blocks_shows_the_same_image(form: str) -> None:
    block, source = FORMS[form]
    (standard,) = HumanMessage(content=[block]).content_blocks
    assert is_image_block(standard)
    assert block_source(dict(standard)) == source


@pytest.mark.parametrize("mime_type", ["IMAGE/PNG", "Image/Jpeg"])
def test_the_case_of_a_media_type_does_not_matter(mime_type: str) -> None:
    assert is_image_block({"type": "image", "mime_type": mime_type, "base64": DATA})
    assert is_image_block({"type": "media", "mime_type": mime_type, "data": DATA})


def test_a_block_is_not_changed_by_reading_it() -> None:
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": DATA}}
    before = repr(block)
    block_source(block)
    assert repr(block) == before


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("make a fox", "make a fox"),
        ("", ""),
        ([], ""),
        (["make", "a fox"], "make\na fox"),
        ([{"type": "text", "text": "make"}, FORMS["v1 url"][0], {"type": "text", "text": "it red"}], "make\nit red"),
        ([{"type": "input_text", "text": "make"}, "it"], "make\nit"),
        ([{"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": 5}, {"text": "no type"}], ""),
        ([FORMS["v1 base64"][0]], ""),
        ([None, 5, ["x"]], ""),
        (None, ""),
        (5, ""),
    ],
)
def test_the_text_of_a_message_is_that_of_its_text_blocks(content: Any, text: str) -> None:
    assert find_text(content) == text


def test_base64_never_becomes_text() -> None:
    assert all(DATA not in find_text([block]) for block, _ in FORMS.values())


def blocks_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    keys = ("type", "url", "image_url", "image", "base64", "data", "source", "mime_type", "mimeType", "file_id", "text")
    kinds = st.sampled_from(("image", "image_url", "input_image", "media", "text"))
    return st.dictionaries(st.sampled_from(keys), inner | kinds, max_size=5)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | blocks_of(inner),
    max_leaves=12,
)


@given(blocks_of(VALUES))
@example({"image_url": {"base64": "000\x80"}})
def test_any_block_holds_text_bytes_or_nothing(block: dict[str, Any]) -> None:
    source = block_source(block)
    assert source is None or isinstance(source, str | bytes)
    assert source != ""
    assert not (is_image_block(block) and find_text([block]))
