"""The tool as an MCP server, called by a real MCP client."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from langchain_mcp_adapters.tools import to_fastmcp
from mcp import ClientSession
from mcp.server.fastmcp import FastMCP
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import CallToolResult, TextContent

from langchain_wan import Budget, WanImageTool
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import sent_pictures
from tests.support.services import access, posts


@asynccontextmanager
async def client_of(tool: WanImageTool) -> AsyncIterator[ClientSession]:
    server = FastMCP("images", tools=[to_fastmcp(tool)])
    async with create_connected_server_and_client_session(server._mcp_server) as session:
        yield session


def find_text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def test_a_client_sees_the_arguments_and_the_prices(sandbox: Sandbox) -> None:
    async with client_of(WanImageTool(**access(sandbox))) as client:
        (served,) = (await client.list_tools()).tools
    assert served.name == "wan_image"
    assert "$0.03" in str(served.description)
    assert list(served.inputSchema["properties"]) == ["prompt", "images", "n", "model"]
    assert served.inputSchema["required"] == ["prompt"]


async def test_an_image_is_made_and_edited_by_its_id(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox))
    async with client_of(tool) as client:
        made = await client.call_tool("wan_image", {"prompt": "a red fox"})
        (name,) = re.findall(r"img_[0-9a-z]{13}", find_text(made))
        edited = await client.call_tool("wan_image", {"prompt": "make it night", "images": [name]})
    assert not made.isError
    assert not edited.isError
    image = tool.store.get(name)
    assert image is not None
    assert sent_pictures(sandbox) == [image.read()]


@pytest.mark.parametrize("arguments", [{"prompt": "x", "images": ["/etc/passwd"]}, {"prompt": ""}, {"n": 9}])
async def test_an_error_is_one_that_the_client_sees_as_one(arguments: dict[str, object], sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, handle_tool_error=False))
    async with client_of(tool) as client:
        refused = await client.call_tool("wan_image", arguments)
    assert refused.isError
    assert "Traceback" not in find_text(refused)
    assert posts(sandbox) == []


async def test_the_text_of_an_error_is_the_advice(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, budget=Budget(max_images=0), handle_tool_error=False))
    async with client_of(tool) as client:
        refused = await client.call_tool("wan_image", {"prompt": "a fox"})
        unknown = await client.call_tool("wan_image", {"prompt": "a fox", "images": ["img_0000000000000"]})
    assert refused.isError
    assert find_text(refused).endswith("The image budget does not allow this call. Tell the user; do not call again.")
    assert find_text(unknown).endswith(": no image of this conversation has this name.")


async def test_what_only_the_operator_can_mend_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(faults=["insufficient_credits"]) as service:
        tool = WanImageTool(**access(service, handle_tool_error=False))
        async with client_of(tool) as client:
            refused = await client.call_tool("wan_image", {"prompt": "a fox"})
    assert "unavailable" in find_text(refused)
    assert "credit" not in find_text(refused)
    assert "credit" in caplog.text
