"""LangChain's own unit tests for tools, and for chat models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_tests.unit_tests import ChatModelUnitTests, ToolsUnitTests

from langchain_wan import WanImageTool
from langchain_wan.sandbox import ScriptedChatModel


class TestWanImageTool(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[WanImageTool]:
        return WanImageTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"api_key": "sk-test"}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"prompt": "a red fox", "n": 2, "model": "wan2.7-image-pro", "images": []}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"AISA_API_KEY": "sk-test"}, {}, {}


class TestScriptedChatModel(ChatModelUnitTests):
    @pytest.fixture
    def snapshot(self) -> None:
        """What syrupy's plugin provides, for models that can be serialised."""

    @pytest.fixture
    def benchmark(self) -> Callable[[Callable[[], None]], None]:
        """What the plugin pytest-benchmark provides; no time is asserted."""
        return lambda create: create()

    @property
    def chat_model_class(self) -> type[ScriptedChatModel]:
        return ScriptedChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"script": ["Hello."]}
