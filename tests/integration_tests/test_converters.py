"""What the middleware adds, through the message converters of the common chat models, offline."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from langchain_wan import WanImageTool
from langchain_wan.middleware import WanImageMiddleware
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import attached
from tests.support.images import png
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import access


@pytest.fixture
def messages(sandbox: Sandbox) -> list[BaseMessage]:
    """What a model sees after it made an image: the upload under its name, and the thumbnail."""
    model = ScriptedChatModel(script=[calls({"prompt": "x", "images": ["upload_1"]}), AIMessage("Done.")])
    agent = create_agent(model, tools=[WanImageTool(**access(sandbox))], middleware=[WanImageMiddleware()])
    agent.invoke({"messages": [attached(png())]})
    return model.received[-1]


def payload(model: BaseChatModel, messages: list[BaseMessage]) -> Any:
    """What the integration would send, without sending it."""
    return model._get_request_payload(messages)  # type: ignore[attr-defined]


def is_jpeg(text: str) -> bool:
    return base64.b64decode(text.rpartition(",")[2]).startswith(b"\xff\xd8\xff")


def is_png(text: str) -> bool:
    return base64.b64decode(text.rpartition(",")[2]) == png()


def test_openai_chat(messages: list[BaseMessage]) -> None:
    sent = payload(init_chat_model("openai:gpt-4o", api_key="x"), messages)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
    assert isinstance(sent[2]["content"], str)
    (upload,) = [part for part in sent[0]["content"] if part["type"] == "image_url"]
    (shown,) = [part for part in sent[3]["content"] if part["type"] == "image_url"]
    assert is_png(upload["image_url"]["url"])
    assert shown["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert is_jpeg(shown["image_url"]["url"])
    assert {"type": "text", "text": "upload_1:"} in sent[0]["content"]


def test_openai_responses(messages: list[BaseMessage]) -> None:
    model = init_chat_model("openai:gpt-4o", api_key="x", use_responses_api=True)
    sent = payload(model, messages)["input"]
    assert [item.get("type", item.get("role")) for item in sent[1:3]] == ["function_call", "function_call_output"]
    (upload,) = [part for part in sent[0]["content"] if part["type"] == "input_image"]
    (shown,) = [part for part in sent[3]["content"] if part["type"] == "input_image"]
    assert is_png(upload["image_url"])
    assert is_jpeg(shown["image_url"])


def test_anthropic(messages: list[BaseMessage]) -> None:
    sent = payload(init_chat_model("anthropic:claude-sonnet-4-5", api_key="x"), messages)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    images = [part["source"] for message in sent for part in message["content"] if part["type"] == "image"]
    assert [source["type"] for source in images] == ["base64", "base64"]
    assert [source["media_type"] for source in images] == ["image/png", "image/jpeg"]
    assert is_png(images[0]["data"])
    assert is_jpeg(images[1]["data"])
    # Results of tools have to come first in the message that follows a call.
    assert sent[2]["content"][0]["type"] == "tool_result"


def test_google(messages: list[BaseMessage]) -> None:
    model: Any = init_chat_model("google_genai:gemini-2.5-flash", api_key="x")
    sent = model._prepare_request(messages)["contents"]
    shown = [part.inline_data for content in sent for part in content.parts if part.inline_data is not None]
    assert [blob.mime_type for blob in shown] == ["image/png", "image/jpeg"]
    assert shown[0].data == png()
    assert shown[1].data.startswith(b"\xff\xd8\xff")


def test_ollama(messages: list[BaseMessage]) -> None:
    model: Any = init_chat_model("ollama:llava")
    sent = model._convert_messages_to_ollama_messages(messages)
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "user"]
    assert is_png(sent[0]["images"][0])
    assert is_jpeg(sent[3]["images"][0])
