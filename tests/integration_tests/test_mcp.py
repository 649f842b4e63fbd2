"""The tool as an MCP server, called by a real MCP client."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from langchain_mcp_adapters.tools import to_fastmcp
from mcp import ClientSession
from mcp.server.fastmcp import FastMCP
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import CallToolResult, TextContent

from langchain_wan import Budget, WanImageTool, WanStore
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


async def test_two_clients_share_the_images_of_a_server_and_no_message_names_an_upload(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox))
    async with client_of(tool) as first, client_of(tool) as second:
        made = await first.call_tool("wan_image", {"prompt": "a red fox"})
        names = re.findall(r"img_[0-9a-z]{13}", find_text(made))
        edited = await second.call_tool("wan_image", {"prompt": "night", "images": names})
        refused = await second.call_tool("wan_image", {"prompt": "night", "images": ["upload_1"]})
    assert not edited.isError
    assert "upload_1" in find_text(refused)
    assert len(posts(sandbox)) == 2


async def test_an_id_works_after_a_restart_of_the_server(sandbox: Sandbox, tmp_path: Path) -> None:
    names: list[str] = []
    for prompt in ("a red fox", "night"):
        tool = WanImageTool(**access(sandbox, store=WanStore(tmp_path)), scope="store")
        async with client_of(tool) as client:
            answer = await client.call_tool("wan_image", {"prompt": prompt, "images": names[-1:]})
        assert not answer.isError
        names += re.findall(r"img_[0-9a-z]{13}", find_text(answer))[:1]
    (sent,) = sent_pictures(sandbox)
    image = WanStore(tmp_path).get(names[0])
    assert image is not None
    assert image.read() == sent


async def test_an_uncertain_call_is_not_sent_again_for_any_client() -> None:
    with Sandbox(faults=["disconnect"]) as service:
        tool = WanImageTool(**access(service, handle_tool_error=False))
        for _ in range(2):
            async with client_of(tool) as client:
                answer = await client.call_tool("wan_image", {"prompt": "a red fox"})
            assert answer.isError
        assert len(posts(service)) == 1


async def test_a_client_is_told_no_progress(sandbox: Sandbox) -> None:
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with client_of(WanImageTool(**access(sandbox))) as client:
        made = await client.call_tool("wan_image", {"prompt": "a red fox"}, progress_callback=on_progress)
    assert not made.isError
    assert told == []


async def test_the_text_of_an_error_is_the_advice(sandbox: Sandbox) -> None:
    tool = WanImageTool(**access(sandbox, budget=Budget(max_images=0), handle_tool_error=False))
    async with client_of(tool) as client:
        refused = await client.call_tool("wan_image", {"prompt": "a fox"})
        unknown = await client.call_tool("wan_image", {"prompt": "a fox", "images": ["img_0000000000000"]})
    assert refused.isError
    assert find_text(refused).endswith("does not allow another image. Tell the user; do not call again.")
    assert find_text(unknown).endswith(": no image of this conversation has this name.")


async def test_what_only_the_operator_can_mend_is_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(faults=["insufficient_credits"]) as service:
        tool = WanImageTool(**access(service, handle_tool_error=False))
        async with client_of(tool) as client:
            refused = await client.call_tool("wan_image", {"prompt": "a fox"})
    assert "unavailable" in find_text(refused)
    assert "credit" not in find_text(refused)
    assert "credit" in caplog.text
