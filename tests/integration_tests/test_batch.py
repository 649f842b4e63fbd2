"""A batch from a file: paid once, whatever happens to it in the middle."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langchain_wan import WanStore
from langchain_wan.cli.app import app
from langchain_wan.cli.shell_advice import name_redo
from langchain_wan.sandbox.app import Sandbox
from tests.support.fault_server import FaultServer, answer, refusal, reply
from tests.support.images import PHOTOGRAPH, data_uri, png
from tests.support.services import posts

runner = CliRunner()


def run(*arguments: str) -> Any:
    return runner.invoke(app, ["generate", "--from", *arguments])


def prompts_of(service: Any) -> list[str]:
    return [post.json["messages"][0]["content"][-1]["text"] for post in posts(service)]


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
    assert "0 already done, 3 new, $0.09 this run, $0.09 in all: " in done.stdout
    sheet = Sheet(tmp_path / "wan-images" / "contact-sheet.html")
    assert sheet.tags.count("img") == 3
    assert "b" not in sheet.tags
    assert "script" not in sheet.tags
    assert all((tmp_path / "wan-images" / link).is_file() for link in sheet.links)
    assert len(set(sheet.links)) == 3  # identical lines are two images
    assert "a <b>hare</b>" in sheet.text
    assert "3 images, $0.09" in sheet.text
    again = run("prompts.txt")
    assert again.exit_code == 0
    assert "3 already done, 0 new, $0.00 this run, $0.09 in all: " in again.stdout
    assert len(posts(service)) == 3


def test_lines_that_were_added_or_changed_are_paid_and_the_others_are_not(service: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a fox\na hare\n")
    run("prompts.txt")
    file.write_text("a fox\na white hare\nan owl\n")
    assert run("prompts.txt").exit_code == 0
    assert sorted(prompts_of(service)) == ["a fox", "a hare", "a white hare", "an owl"]
    assert run("prompts.txt", "--model", "wan2.7-image-pro").exit_code == 0
    assert len(posts(service)) == 7


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--from", "a.txt"],
        [],
        ["--from", "missing.txt"],
        ["--from", "a.txt", "--max-usd", "many"],
        ["--from", "a.txt", "--json"],
        ["x", "--batch", "foxes"],
        ["x", "--redo", "1"],
    ],
)
def test_a_wrong_command_line_says_so(arguments: list[str], service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a fox")
    assert runner.invoke(app, ["generate", *arguments]).exit_code == 2
    assert service.requests == []


@pytest.mark.parametrize(
    ("edited", "sent", "summary"),
    [
        ("\n\na\nb\nc\n", 3, "3 already done, 0 new, $0.00 this run, $0.09 in all"),
        ("new\na\nb\nc\n", 4, "3 already done, 1 new, $0.03 this run, $0.12 in all"),
        ("b\nc\n", 3, "2 already done, 0 new, $0.00 this run, $0.09 in all"),
        ("c\na\nb\n", 3, "3 already done, 0 new, $0.00 this run, $0.09 in all"),
        ("a\nb\na\nc\n", 4, "3 already done, 1 new, $0.03 this run, $0.12 in all"),
    ],
    ids=["blank lines", "new first line", "deleted line", "moved line", "repeated line"],
)
def test_a_file_that_is_edited_pays_for_new_lines_only(
    edited: str, sent: int, summary: str, service: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a\nb\nc\n")
    run("prompts.txt")
    file.write_text(edited)
    done = run("prompts.txt")
    assert done.exit_code == 0, done.output
    assert f"{summary}: " in done.stdout
    assert len(posts(service)) == sent


def test_a_line_is_the_same_from_any_folder_and_another_one_with_other_options(
    service: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.txt").write_text("on a beach\n")
    (tmp_path / "photo.png").write_bytes(png())
    (tmp_path / "other.png").write_bytes(png("blue"))
    run("prompts.txt", "--image", "photo.png", "--out", str(tmp_path / "wan"))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    same = ["../prompts.txt", "--out", "../wan"]
    assert "1 already done, 0 new" in run(*same, "--image", "../photo.png").stdout
    assert len(posts(service)) == 1
    for count, options in enumerate((["../other.png"], ["../photo.png", "-n", "2"], ["../photo.png"] * 2), 2):
        names = [word for name in options for word in (("--image", name) if name.endswith("png") else (name,))]
        assert "0 already done, 1 new" in run(*same, *names).stdout
        assert len(posts(service)) == count


def test_another_file_in_the_folder_is_another_batch_unless_it_has_the_same_name(
    service: Sandbox, tmp_path: Path
) -> None:
    for name in ("a.txt", "b.txt", "c.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a fox"}' if name == "c.jsonl" else "a fox")
        assert "0 already done, 1 new, $0.03 this run, $0.03 in all" in run(name).stdout
    images = [entry.images[0] for entry in WanStore(tmp_path / "wan-images").history()]
    assert len(posts(service)) == len(set(images)) == 3
    assert run("a.txt", "--batch", "foxes").exit_code == 0
    assert len(posts(service)) == 4
    assert "1 already done, 0 new" in run("b.txt", "--batch", "foxes").stdout
    assert len(posts(service)) == 4


def test_a_limit_holds_for_all_runs_of_a_file_together(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\nc\nd\n")
    for limit, sent in (("0.06", 2), ("0.06", 2), ("0.09", 3)):
        done = run("prompts.txt", "--max-usd", limit)
        assert done.exit_code == 1
        assert len(posts(service)) == sent
        assert sorted(prompts_of(service)) == list("abc")[:sent]
        assert re.findall(r"^Stopped at line (\d): .*budget.*--max-usd", done.stderr, re.MULTILINE) == [str(sent + 1)]
        assert done.stderr.count("\n") == 1
    assert "3 already done, 1 new, $0.03 this run, $0.12 in all" in run("prompts.txt", "--max-usd", "0.12").stdout


def test_a_limit_counts_runs_that_had_none(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    run("prompts.txt")
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    assert run("prompts.txt", "--max-usd", "0.08").exit_code == 1
    assert len(posts(service)) == 2


def test_a_run_stops_at_the_first_line_that_does_not_fit_and_shows_what_is_done_behind_it(
    service: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "done"}')
    run("prompts.jsonl")
    small, large = '{"prompt": "small %d"}\n', '{"prompt": "large", "n": 4}\n'
    file.write_text(small % 1 + large + small % 2 + '{"prompt": "done"}\n')
    done = run("prompts.jsonl", "--max-usd", "0.10")
    assert done.exit_code == 1
    assert prompts_of(service) == ["done", "small 1"]
    assert "Stopped at line 2" in done.stderr
    assert "1 already done, 1 new, $0.03 this run, $0.06 in all; 2 not started: " in done.stdout
    sheet = Sheet(tmp_path / "wan-images" / "contact-sheet.html")
    offsets = [sheet.text.index(text) for text in ("small 1", "large", "small 2", "done")]
    assert offsets == sorted(offsets)
    assert sheet.text.count("not started") == 3  # two lines, and the summary


def test_the_sheet_shows_the_input_image_of_an_edit(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(PHOTOGRAPH)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "make it night", "images": ["photo.jpg"], "n": 2}\n')
    assert run("prompts.jsonl").exit_code == 0
    sheet = Sheet(tmp_path / "wan-images" / "contact-sheet.html")
    assert sheet.tags.count("img") == 2 + 2
    assert sheet.text.count("$0.03 ") == 2


def test_money_that_a_refused_line_gives_back_is_there_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    released = threading.Event()
    refused = reply(400, refusal("content_policy_violation"), when=released)
    with FaultServer(refused, reply(200, answer(data_uri()))) as server:
        monkeypatch.setenv("AISA_API_KEY", server.api_key)
        monkeypatch.setenv("AISA_BASE_URL", server.url)
        threading.Timer(0.5, released.set).start()
        done = run("prompts.txt", "--max-usd", "0.06")
        assert "0 already done, 2 new, $0.06 this run, $0.06 in all; 1 failed: " in done.stdout
        assert prompts_of(server) == ["a", "b", "c"]
        assert "Stopped" not in done.stderr


def test_a_line_that_was_settled_as_charged_is_made_anew_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("\na\na\n")
    with Sandbox(faults=["disconnect"]) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        lost = run("prompts.txt", "--concurrency", "1", "--out", "cc")
        assert "$0.03 this run, $0.03 in all; 1 uncertain ($0.03 may have been charged): " in lost.stdout
        step = re.findall(r"line 2: .*`langchain-wan (resolve line-\w+ --charged --out cc)`", lost.stderr)[0]
        assert runner.invoke(app, step.split()).exit_code == 0
        settled = run("prompts.txt", "--out", "cc")
        assert settled.exit_code == 1
        assert "line 2: It was settled as charged" in settled.stderr
        step = re.findall(r"^To pay once more for line 2: `langchain-wan (.*)`\.$", settled.stderr, re.MULTILINE)[0]
        assert step == "generate --from prompts.txt --out cc --redo 2"
        assert "$0.00 this run, $0.06 in all" in settled.stdout
        assert len(posts(service)) == 2
        redone = runner.invoke(app, step.split())
        assert "1 already done, 1 new, $0.03 this run, $0.09 in all: " in redone.stdout
        assert "2 already done, 0 new, $0.00 this run, $0.09 in all: " in run("prompts.txt", "--out", "cc").stdout
        assert len(posts(service)) == 3


def test_all_lines_that_were_settled_as_charged_are_made_anew_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my prompts.txt").write_text("a\nb\nc\nd\n")
    with Sandbox(faults=["disconnect", None, "disconnect", "disconnect", "disconnect"]) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        batch = ["my prompts.txt", "--concurrency", "1"]
        run(*batch)
        for lines in ("1, 3, 4", "1"):
            assert runner.invoke(app, ["resolve", "--all", "--charged", "--yes"]).exit_code == 0
            settled = run(*batch)
            ((named, command),) = re.findall(
                r"^To pay once more for lines? ([\d, ]+): `(.+)`\.$", settled.stderr, re.MULTILINE
            )
            assert named == lines
            redone = runner.invoke(app, shlex.split(command)[1:])  # the first time, one of them is lost again
        assert redone.exit_code == 0, redone.output
        assert "3 already done, 1 new" in redone.stdout
        assert len(posts(service)) == 4 + 3 + 1


@pytest.mark.parametrize("before", [["--redo", "7"], ["--redo=7"], []])
def test_the_command_for_other_lines_leaves_out_those_of_before(before: list[str]) -> None:
    command = name_redo(["generate", "--from", "a b.txt", *before, "-n", "2"], [3, 5])
    assert command == "`langchain-wan generate --from 'a b.txt' -n 2 --redo 3 --redo 5`"


def test_a_line_whose_image_was_deleted_fails_alone(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\n")
    run("prompts.txt")
    store = WanStore(tmp_path / "wan-images")
    store.delete(store.history()[0].images[0])
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    done = run("prompts.txt", "--concurrency", "1")
    assert done.exit_code == 1
    assert "0 already done, 1 new, $0.03 this run, $0.06 in all; 1 failed: " in done.stdout
    assert "line 1: " in done.stderr
    assert "1 already done, 1 new" in run("prompts.txt", "--redo", "1").stdout
    assert prompts_of(service) == ["a", "b", "a"]


def test_a_line_that_is_done_is_made_anew_only_if_it_is_named(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    run("prompts.txt")
    assert "1 already done, 1 new" in run("prompts.txt", "--redo", "1").stdout
    (tmp_path / "prompts.txt").write_text("new\nb\na\n")
    assert "2 already done, 1 new" in run("prompts.txt").stdout
    assert sorted(prompts_of(service)) == ["a", "a", "b", "new"]
    for number in ("4", "0"):
        wrong = run("prompts.txt", "--redo", number)
        assert wrong.exit_code == 2
        assert f"no request on line {number}" in wrong.stderr


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
        assert "0 already done, 2 new, $0.06 this run, $0.06 in all; 1 failed: " in done.stdout
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
        unanswered = set(prompts_of(service)[25:])
        assert len(unanswered) == 8
        second = subprocess.run(
            [*command, "--concurrency", "8"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        sent_prompts = prompts_of(service)
    store = WanStore(tmp_path / "wan-images")
    uncertain = store.unfinished()
    assert len(sent_prompts) == 50
    assert set(sent_prompts) == {f"fox number {number}" for number in range(50)}
    assert {entry.prompt for entry in uncertain} == unanswered
    assert {entry.state for entry in uncertain} <= {"uncertain"}
    named = re.findall(r"line \d+: .*interrupted.*`langchain-wan resolve (\S+) --not-charged`", second.stderr)
    assert sorted(named) == sorted(entry.operation_id for entry in uncertain)
    assert "settle the 8 calls: `langchain-wan resolve --all --not-charged`" in second.stderr
    assert second.returncode == 1
    assert [entry.state for entry in store.history()].count("done") == 42
