"""The unmodified OpenAI client, pointed at the sandbox: proof that it speaks the protocol and no dialect of ours."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion
from PIL import Image

from langchain_wan.sandbox.app import Sandbox

PROMPT: Any = {"type": "text", "text": "a red fox in fresh snow"}


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    # No retries: what is asked once must be billed once.
    with openai.OpenAI(base_url=sandbox.url, api_key=sandbox.api_key, max_retries=0) as connected:
        yield connected


def urls(completion: ChatCompletion) -> list[str]:
    # The client says that content is text; AIsa sends a list of parts.
    parts = [cast("list[dict[str, str]]", choice.message.content) for choice in completion.choices]
    assert all(len(part) == 1 and part[0]["type"] == "image" for part in parts)
    return [part[0]["image"] for part in parts]


def download(url: str) -> bytes:
    return httpx.get(url).raise_for_status().content


def test_four_images_come_without_n(client: openai.OpenAI, sandbox: Sandbox) -> None:
    completion = client.chat.completions.create(
        model="wan2.7-image", messages=[{"role": "user", "content": [PROMPT]}], extra_body={"size": "768*768"}
    )
    assert len({download(url) for url in urls(completion)}) == 4
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8
    assert completion.choices[3].finish_reason == "stop"
    assert sandbox.bill == Decimal("0.120")


def test_one_image_comes_with_n_1(client: openai.OpenAI, sandbox: Sandbox) -> None:
    completion = client.chat.completions.create(
        model="wan2.7-image-pro", n=1, seed=7, messages=[{"role": "user", "content": [PROMPT]}]
    )
    (url,) = urls(completion)
    with Image.open(io.BytesIO(download(url))) as picture:
        assert (picture.format, picture.size) == ("PNG", (1024, 1024))
    assert sandbox.bill == Decimal("0.075")


@pytest.mark.parametrize("as_data", [False, True], ids=["url", "data URI"])
def test_an_image_can_be_edited(as_data: bool, client: openai.OpenAI) -> None:
    first = client.chat.completions.create(
        model="wan2.7-image", n=1, messages=[{"role": "user", "content": [PROMPT]}], extra_body={"size": "1280*720"}
    )
    (url,) = urls(first)
    parent = download(url)
    link = f"data:image/png;base64,{base64.b64encode(parent).decode()}" if as_data else url
    reference: Any = {"type": "image_url", "image_url": {"url": link}}
    night: Any = {"type": "text", "text": "make it night"}
    second = client.chat.completions.create(
        model="wan2.7-image", n=1, messages=[{"role": "user", "content": [reference, night]}]
    )
    edit = download(urls(second)[0])
    assert edit != parent
    with Image.open(io.BytesIO(edit)) as picture:
        assert picture.width / picture.height == pytest.approx(16 / 9, abs=0.05)


def test_content_as_a_string_is_refused_in_the_documented_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="wan2.7-image", messages=[{"role": "user", "content": "a fox"}])
    assert caught.value.code == "invalid_parameter_error"
    assert "Input should be a valid list: messages[*].content" in caught.value.message


def test_the_images_route_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(model="wan2.7-image", prompt="a fox")
    assert caught.value.code == "openai_error"


def test_models_are_listed_and_other_keys_refused(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["wan2.7-image", "wan2.7-image-pro"]
    with pytest.raises(openai.AuthenticationError, match="invalid api key"):
        client.with_options(api_key="sk-other").models.list()


def test_a_rate_limit_is_understood() -> None:
    with (
        Sandbox(faults=["rate_limit_exceeded"]) as service,
        openai.OpenAI(base_url=service.url, api_key=service.api_key, max_retries=0) as client,
    ):
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="wan2.7-image", messages=[{"role": "user", "content": [PROMPT]}])
        assert caught.value.response.headers["retry-after"] == "1"
        assert caught.value.request_id


async def test_the_async_client_is_served_too(sandbox: Sandbox) -> None:
    async with openai.AsyncOpenAI(base_url=sandbox.url, api_key=sandbox.api_key, max_retries=0) as client:
        completion = await client.chat.completions.create(
            model="wan2.7-image", n=2, messages=[{"role": "user", "content": [PROMPT]}], extra_body={"size": "768*768"}
        )
    assert len(urls(completion)) == 2
