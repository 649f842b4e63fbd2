"""Every block of the README is executed: Python as one program, commands against the real ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langchain_wan.cli.app import app
from langchain_wan.sandbox.app import Sandbox
from tests.support.scripted_model import ScriptedChatModel
from tests.support.services import posts

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_python_block_runs_as_it_stands(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: ScriptedChatModel(script=[]))
    namespace: dict[str, Any] = {}
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert len(blocks) >= 8
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102  our own README
        if block is blocks[0]:
            namespace["service"].stop()
    assert len(namespace["several"]) == 2
    assert len(posts(service)) == 1 + 1 + 1 + 2 + 1 + 1  # chain, night, both, several, client, errors


def test_the_ten_line_agent_runs_without_any_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    block = next(text for language, text in BLOCKS if language == "python")
    exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102  our own README
    with namespace["service"] as sandbox:
        assert len(posts(sandbox)) == 2
        foxes, night = [message.artifact for message in namespace["state"]["messages"] if message.type == "tool"]
        assert night["parents"] == [foxes["images"][1]["id"]]
        assert namespace["state"]["messages"][-1].text == "Here they are."


def test_every_command_is_one_that_exists(service: Sandbox) -> None:
    commands = [
        shlex.split(line, comments=True)
        for language, text in BLOCKS
        if language == "bash"
        for line in text.splitlines()
    ]
    assert [
        command for command in commands if command[:1] not in ([], ["make"], ["pip"], ["export"], ["langchain-wan"])
    ] == []
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands:
        if command[0] == "make":
            assert command[1] in targets
        if command[0] == "langchain-wan":
            shown = CliRunner().invoke(app, [command[1], "--help"]).stdout
            for option in (word for word in command if word.startswith("-")):
                assert option in shown


def test_the_ten_line_agent_has_ten_lines_and_the_chain_five() -> None:
    blocks = [text.strip().splitlines() for language, text in BLOCKS if language == "python"]
    assert len(blocks[0]) <= 10
    assert len([line for line in blocks[3] if line]) <= 5


def test_links_and_pictures_point_at_files_that_exist() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
