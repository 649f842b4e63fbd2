"""LangChain's own unit tests for tools."""

from __future__ import annotations

from typing import Any

from langchain_tests.unit_tests import ToolsUnitTests

from langchain_wan import WanImageTool


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
