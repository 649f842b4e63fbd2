"""Every block of docs/ is executed: Python as one program for each page, files that have a name as files."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_wan import WanImageTool
from langchain_wan.sandbox import Sandbox
from tests.conftest import posts
from tests.integration_tests.test_conversations import PHOTOGRAPH, data_uri, ids_in, sent_pictures
from tests.scripted import ScriptedChatModel, calls

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


def blocks_of(page: str) -> list[tuple[str, str, str]]:
    """Language, file name or nothing, and text of each block."""
    return BLOCK.findall((DOCS / page).read_text())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        monkeypatch.setenv("AISA_API_KEY", sandbox.api_key)
        monkeypatch.setenv("AISA_BASE_URL", sandbox.url)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photo.jpg").write_bytes(PHOTOGRAPH)
        yield sandbox


def run_page(page: str, monkeypatch: pytest.MonkeyPatch, script: list[Any]) -> dict[str, Any]:
    """Run the blocks that have no file name, with a chat model that follows a script."""
    model = ScriptedChatModel(script=script)
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: model)
    namespace: dict[str, Any] = {}
    for language, title, text in blocks_of(page):
        if language == "python" and not title:
            exec(compile(text, page, "exec"), namespace)  # noqa: S102  our own documentation
    assert model.script == []
    return namespace


def test_the_blocks_about_agents_run_as_they_stand(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    script = [
        calls({"prompt": "on a beach", "images": ["upload_1"]}),
        AIMessage("There."),
        calls({"prompt": "a fox"}),
        AIMessage("A fox."),
        calls({"prompt": "a fox"}),
        AIMessage("It is red."),
        calls({"task": "a fox"}, name="illustrate"),
        calls({"prompt": "a fox"}),
        lambda seen: AIMessage(ids_in(seen)[0]),
        lambda seen: calls({"task": f"{seen[-2].text} at night"}, name="retouch"),
        lambda seen: calls({"prompt": "night", "images": [seen[-1].text.split()[0]]}),
        lambda seen: AIMessage(ids_in(seen)[0]),
        AIMessage("Done."),
    ]
    namespace = run_page("agents.md", monkeypatch, script)
    assert len(posts(service)) == 5
    assert len(sent_pictures(service)) == 1
    assert [tool.name for tool in namespace["server"]._tool_manager.list_tools()] == ["wan_image"]


def test_the_tests_for_an_agent_pass(tmp_path: Path) -> None:
    files = [text for _, title, text in blocks_of("agents.md") if title == "test_my_agent.py"]
    (tmp_path / "test_my_agent.py").write_text(files[0])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "4 passed" in ran.stdout


@pytest.fixture
def web(service: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The web backend, as it stands in the page, in a folder of its own."""
    for _, title, text in blocks_of("agents.md"):
        if title in ("app.py", "page.html"):
            (tmp_path / title).write_text(text)
    script = [
        calls({"prompt": "a red fox"}),
        AIMessage("Here is a fox."),
        lambda seen: calls({"prompt": "night", "images": [ids_in(seen)[0], "upload_1"]}),
        AIMessage("It is night."),
    ]
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: ScriptedChatModel(script=script))
    spec = importlib.util.spec_from_file_location("app", tmp_path / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "app", module)
    spec.loader.exec_module(module)
    return module


def test_the_web_backend_streams_progress_shows_pictures_and_edits_them(web: ModuleType, service: Sandbox) -> None:
    with TestClient(web.app) as client:
        assert "<form" in client.get("/").text

        def say(*content: Any) -> list[dict[str, Any]]:
            answer = client.post("/threads/7f3c", json={"role": "user", "content": list(content)})
            return [json.loads(line) for line in answer.text.splitlines()]

        events = say({"type": "text", "text": "A fox."})
        stages = [event["stage"] for event in events if event["type"] == "wan_image"]
        assert stages == ["queued", "submitted", "answered", "stored", "done"]
        (made,) = [event for event in events if event["type"] == "tool"]
        picture = client.get(f"/threads/7f3c/{made['images'][0]}")
        assert picture.headers["content-type"] == "image/png"
        assert client.get(f"/threads/other/{made['images'][0]}").status_code == 404
        url = {"type": "image_url", "image_url": {"url": data_uri(PHOTOGRAPH)}}
        events = say({"type": "text", "text": "Night, with me in it."}, url)
        assert events[-1]["text"] == "It is night."
    assert sent_pictures(service)[0] == picture.content
    assert len(sent_pictures(service)) == 2


def test_the_web_backend_has_forty_lines() -> None:
    (text,) = [text for _, title, text in blocks_of("agents.md") if title == "app.py"]
    assert len([line for line in text.splitlines() if line.strip()]) <= 40


def test_links_point_at_files_that_exist() -> None:
    for page in DOCS.glob("*.md"):
        targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", page.read_text())
        assert [target for target in targets if not (page.parent / target).exists()] == [], page.name


def test_the_approval_of_urls_asks_before_a_url_is_named(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS.parent / "SECURITY.md").read_text()
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(textwrap.dedent(block), "SECURITY.md", "exec"), namespace)  # noqa: S102  our own documentation
    for images, asked in ((["https://evil.example.com/?secret"], True), (["upload_1"], False), ([], False)):
        model = ScriptedChatModel(script=[calls({"prompt": "x", "images": images}), AIMessage("Done.")])
        agent = create_agent(
            model, tools=[WanImageTool()], middleware=[namespace["approval"]], checkpointer=InMemorySaver()
        )
        done = agent.invoke({"messages": [HumanMessage("Go.")]}, {"configurable": {"thread_id": "1"}})
        assert ("__interrupt__" in done) is asked
    assert len(posts(service)) == 1  # `upload_1` is unknown here, and no image at all makes one
