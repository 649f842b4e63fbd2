"""LangChain's own integration tests for tools, over the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests

from langchain_wan import WanImageTool
from langchain_wan.sandbox.app import Sandbox


class TestWanImageTool(ToolsIntegrationTests):
    @pytest.fixture(autouse=True)
    def service(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with Sandbox() as sandbox:
            monkeypatch.setenv("AISA_API_KEY", sandbox.api_key)
            monkeypatch.setenv("AISA_BASE_URL", sandbox.url)
            yield

    @property
    def tool_constructor(self) -> type[WanImageTool]:
        return WanImageTool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"prompt": "a red fox in fresh snow"}
