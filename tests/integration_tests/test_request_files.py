"""Files of requests as they are: their encodings, what a line is, what is wrong with one, and standard input."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langchain_wan.cli.app import app
from langchain_wan.sandbox.app import Sandbox
from tests.support.images import png
from tests.support.services import posts

runner = CliRunner()


def run(*arguments: str, **options: Any) -> Any:
    return runner.invoke(app, ["generate", *arguments], **options)


def prompts_of(service: Sandbox) -> list[str]:
    return [post.json["messages"][0]["content"][-1]["text"] for post in posts(service)]


def test_lines_of_json_are_requests(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png())
    lines = [
        {"prompt": "a fox", "n": 2, "seed": 7},
        {"prompt": "on a beach", "images": ["photo.png"], "model": "wan2.7-image-pro"},
        {"prompt": "on a hill", "images": "photo.png"},
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = run("--from", "prompts.jsonl", "--concurrency", "1")
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
        ("a.jsonl", '{"prompt": "a fox"}\n{"prompt": "x", "model": "wan9"}', "Line 2"),
        ("a.jsonl", '{"prompt": "a fox", "images": ["img_0000000000000"]}', "No image img_0000000000000 in wan-images"),
        ("a.txt", "\n\n", "has no lines"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_sent(
    name: str, text: str, says: str, service: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    done = run("--from", name)
    assert done.exit_code == 2
    assert says in done.stderr
    assert service.requests == []
    assert not (tmp_path / "wan-images").exists()


def test_every_wrong_line_is_named_and_nothing_is_announced_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # without a key: nothing is said of the sandbox
    (tmp_path / "a.jsonl").write_text('{"prompt": ""}\n\n{"prompt": "a fox"}\n[\n{"prompt": "a", "n": 5}\n')
    done = run("--from", "a.jsonl")
    assert done.exit_code == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "Line 1 of a.jsonl",
        "Line 4 of a.jsonl",
        "Line 5 of a.jsonl",
        "Nothing was sent.",
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.jsonl"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--image", "nowhere.png"],
        ["x", "--image", "text.png"],
        ["x", "--image", "."],
        ["x", "--image", "img_0000000000000"],
        ["x", "--model", "wan9"],
        ["x", "--max-usd", "many"],
        [" "],
        ["--from", "nowhere.txt"],
        ["--from", "."],
        ["--from", "a.txt", "--image", "text.png"],
        ["--from", "a.txt", "--redo", "7"],
        ["--from", "a.txt", "--max-usd", "many"],
    ],
)
def test_what_is_wrong_is_told_before_anything_is_announced_or_made(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "a.txt").write_text("a fox")
    done = run(*arguments)
    assert done.exit_code == 2
    assert "sandbox" not in done.stderr
    assert not (tmp_path / "wan-images").exists()


TEXT = "a größere Füchsin\nein 狐\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "utf-16-le", "utf-16-be", "windows", "old mac"],
)
def test_text_is_read_in_each_encoding_that_editors_write(data: bytes, service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert run("--from", "a.txt", "--concurrency", "1").exit_code == 0
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    assert "2 already done" in run("--from", "a.txt").stdout
    assert prompts_of(service) == TEXT.splitlines()


@pytest.mark.parametrize(
    "data",
    [
        "a fox\nein größerer Fuchs\n".encode("latin-1"),
        b"a fox\n" + png(),
        "a fox\na hare".encode("utf-16-le"),
        "a fox\na hare".encode("utf-32"),
        codecs.BOM_UTF16_LE + b"a\0\n\0\x00\xd8",
        b"a fox\na \0 hare",
    ],
    ids=["latin-1", "image", "utf-16 without mark", "utf-32", "lone surrogate", "null"],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "-"])
def test_what_is_not_text_is_one_line(data: bytes, name: str, service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    done = run("--from", name, input=data)
    assert done.exit_code == 2
    assert "is not UTF-8 or UTF-16 text, from line" in done.stderr
    assert done.stderr.count("\n") == 1
    assert service.requests == []


ODD = "a\u2028b\x85c\x0cd\x1ce\u2029f\x0bg"


def test_a_line_ends_where_an_editor_ends_it(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{ODD}\nlast", encoding="utf-8", newline="")
    assert run("--from", "a.txt", "--concurrency", "1").exit_code == 0
    assert prompts_of(service) == [ODD, "last"]


@pytest.mark.parametrize("escaped", [True, False])
def test_a_line_of_json_ends_at_a_line_feed_only(escaped: bool, service: Sandbox, tmp_path: Path) -> None:
    prompt = f"{ODD}\rh"
    line = json.dumps({"prompt": prompt}, ensure_ascii=escaped)
    if not escaped:  # as programs write that escape only what they must, or not even that
        line = line.replace("\\r", "\r").replace("\\f", "\f").replace("\\u001c", "\x1c").replace("\\u000b", "\x0b")
    (tmp_path / "a.jsonl").write_text(f"{line}\r\n{line}\n", encoding="utf-8", newline="")
    assert run("--from", "a.jsonl").exit_code == 0
    assert prompts_of(service) == [prompt] * 2


def test_a_null_in_a_line_means_what_the_options_say(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "n": null, "model": null, "images": null}\n{"prompt": "a"}')
    assert run("--from", "a.jsonl", "-n", "2", "--model", "wan2.7-image-pro").exit_code == 0
    assert [(post.json["n"], post.json["model"]) for post in posts(service)] == [(2, "wan2.7-image-pro")] * 2


def test_a_dash_reads_the_prompt_from_standard_input(service: Sandbox) -> None:
    done = run("-", input="a red fox\nin fresh snow\n".encode("utf-16"))
    assert done.exit_code == 0, done.output
    assert prompts_of(service) == ["a red fox\nin fresh snow"]
    assert run("-", input="").exit_code == 2
    binary = run("-", input=png())
    assert binary.exit_code == 2
    assert binary.stderr.startswith("standard input is not UTF-8 or UTF-16 text, from line 1 on.")
    assert run("-", "--from", "-", input="a fox").exit_code == 2
    assert len(posts(service)) == 1


@pytest.mark.parametrize("form", ["a fox\nan owl\n", '\n{"prompt": "a fox"}\n{"prompt": "an owl"}'])
def test_a_dash_reads_a_batch_from_standard_input(form: str, service: Sandbox) -> None:
    for done in (0, 2):  # what is piped once more is the same batch
        summary = run("--from", "-", "--concurrency", "1", input=form).stdout
        assert f"{done} already done, {2 - done} new" in summary
    assert prompts_of(service) == ["a fox", "an owl"]
    # Other text is another batch, unless the batch has a name.
    assert "0 already done, 1 new" in run("--from", "-", input="a fox").stdout
    assert "0 already done, 1 new" in run("--from", "-", "--batch", "foxes", input="a fox").stdout
    assert "1 already done, 1 new" in run("--from", "-", "--batch", "foxes", input="a hare\na fox").stdout
    assert len(posts(service)) == 5
