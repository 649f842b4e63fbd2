"""A batch from a file: paid once, whatever happens to it in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langchain_wan import WanStore
from langchain_wan.cli.app import app
from langchain_wan.sandbox.app import Sandbox
from tests.support.images import png
from tests.support.services import posts

runner = CliRunner()


def run(*arguments: str) -> Any:
    return runner.invoke(app, ["generate", "--from", *arguments])


class Sheet(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_each_line_is_made_once_and_shown_on_a_sheet(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red fox\n\n  a <b>hare</b>\na red fox\n")
    done = run("prompts.txt")
    assert done.exit_code == 0, done.output
    assert "3 of 3 lines done, $0.090" in done.stdout
    sheet = Sheet(tmp_path / "wan-images" / "contact-sheet.html")
    assert sheet.tags.count("img") == 3
    assert "b" not in sheet.tags
    assert "script" not in sheet.tags
    assert all((tmp_path / "wan-images" / link).is_file() for link in sheet.links)
    assert len(set(sheet.links)) == 3  # identical lines are two images
    assert "a <b>hare</b>" in sheet.text
    assert "3 images, $0.090" in sheet.text
    again = run("prompts.txt")
    assert again.exit_code == 0
    assert len(posts(service)) == 3


def test_lines_that_were_added_or_changed_are_paid_and_the_others_are_not(service: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a fox\na hare\n")
    run("prompts.txt")
    file.write_text("a fox\na white hare\nan owl\n")
    assert run("prompts.txt").exit_code == 0
    prompts = [post.json["messages"][0]["content"][-1]["text"] for post in posts(service)]
    assert sorted(prompts) == ["a fox", "a hare", "a white hare", "an owl"]
    assert run("prompts.txt", "--model", "wan2.7-image-pro").exit_code == 0
    assert len(posts(service)) == 7


def test_lines_of_json_are_requests(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    lines = [
        {"prompt": "a fox", "n": 2, "seed": 7},
        {"prompt": "on a beach", "images": ["photo.png"], "model": "wan2.7-image-pro"},
        {"prompt": "on a hill", "images": "photo.png"},
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = run("prompts.jsonl", "--concurrency", "1")
    assert done.exit_code == 0, done.output
    sent = [post.json for post in posts(service)]
    assert [(body["n"], body["model"]) for body in sent] == [
        (2, "wan2.7-image"),
        (1, "wan2.7-image-pro"),
        (1, "wan2.7-image"),
    ]
    assert sent[0]["seed"] == 7
    assert [len(body["messages"][0]["content"]) for body in sent] == [1, 2, 2]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.jsonl", '{"prompt": "a fox"}\n{"prompt": ""}', "Line 2"),
        ("a.jsonl", '{"prompt": "a fox"}\nnot json', "Line 2"),
        ("a.jsonl", '["a fox"]', "Line 1"),
        ("a.jsonl", '{"prompt": "a fox", "colour": "red"}', "Line 1"),
        ("a.txt", "a fox\n" + "x" * 5001, "Line 2"),
        (
            "a.jsonl",
            '{"prompt": "a fox", "images": ["nowhere.png"]}',
            "Line 1 of a.jsonl: No such file, URL or image id: nowhere.png",
        ),
        ("a.txt", "\n\n", "has no lines"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_sent(
    name: str, text: str, says: str, service: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    done = run(name)
    assert done.exit_code == 2
    assert says in done.stderr
    assert service.requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--from", "a.txt"],
        [],
        ["--from", "missing.txt"],
        ["--from", "a.txt", "--max-usd", "many"],
        ["--from", "a.txt", "--json"],
    ],
)
def test_a_wrong_command_line_says_so(arguments: list[str], service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a fox")
    assert runner.invoke(app, ["generate", *arguments]).exit_code == 2
    assert service.requests == []


def test_a_limit_holds_for_all_runs_of_a_file_together(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\nc\nd\n")
    for limit, sent in (("0.06", 2), ("0.06", 2), ("0.09", 3)):
        done = run("prompts.txt", "--max-usd", limit)
        assert done.exit_code == 1
        assert "budget" in done.stderr
        assert len(posts(service)) == sent
    assert run("prompts.txt", "--max-usd", "0.12").exit_code == 0


def test_a_limit_holds_for_one_prompt_too(service: Sandbox) -> None:
    assert runner.invoke(app, ["generate", "a fox", "--max-usd", "0.01"]).exit_code == 1
    assert service.requests == []


def test_a_line_that_fails_is_named_and_the_others_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    with Sandbox(faults=["content_policy_violation"]) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        done = run("prompts.txt", "--concurrency", "1")
        assert done.exit_code == 1
        assert "line 1:" in done.stderr
        assert "2 of 3 lines done, $0.060" in done.stdout
        assert "1 failed" in Sheet(tmp_path / "wan-images" / "contact-sheet.html").text
        assert run("prompts.txt").exit_code == 0  # what was refused was not paid, and is tried again
        assert len(posts(service)) == 4


def test_fifty_prompts_killed_half_way_and_started_again_are_fifty_posts(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"fox number {number}\n" for number in range(50)))
    with Sandbox(faults=[*[None] * 25, *["hang"] * 8]) as service:
        environment = {**os.environ, "AISA_API_KEY": service.api_key, "AISA_BASE_URL": service.url}
        command = [str(Path(sys.executable).parent / "langchain-wan"), "generate", "--from", "prompts.txt"]
        first = subprocess.Popen(
            [*command, "--concurrency", "8"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while len(posts(service)) < 33 and time.monotonic() < deadline:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        unanswered = {post.json["messages"][0]["content"][-1]["text"] for post in posts(service)[25:]}
        assert len(unanswered) == 8
        second = subprocess.run(
            [*command, "--concurrency", "8"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        sent_prompts = [post.json["messages"][0]["content"][-1]["text"] for post in posts(service)]
    store = WanStore(tmp_path / "wan-images")
    uncertain = store.unfinished()
    assert len(sent_prompts) == 50
    assert set(sent_prompts) == {f"fox number {number}" for number in range(50)}
    assert {entry.prompt for entry in uncertain} == unanswered
    assert {entry.state for entry in uncertain} <= {"uncertain"}
    named = re.findall(r"line \d+: .*interrupted.*`langchain-wan resolve (\S+) --not-charged`", second.stderr)
    assert sorted(named) == sorted(entry.operation_id for entry in uncertain)
    assert second.returncode == 1
    assert [entry.state for entry in store.history()].count("done") == 42
