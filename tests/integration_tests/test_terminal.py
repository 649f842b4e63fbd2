"""What texts can do to a terminal: nothing. The command runs in a real one (a pty)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from langchain_wan._text.control_characters import has_control
from langchain_wan.sandbox.app import Sandbox

pty = pytest.importorskip("pty")

TITLE = "\x1b]0;owned\x07"
CLIPBOARD = "\x1b]52;c;ZXZpbA==\x07"
C1 = "\x9d52;c;ZXZpbA==\x9c"
OVERRIDE = "\u202egnp.exe\u2066\u200f"
HOSTILE = f"a fox {TITLE}{CLIPBOARD}{C1}{OVERRIDE}\x08\x7f\u2028end"
# What rich itself sends: colours, the cursor, and lines that are erased.
STYLE = re.compile(r"\x1b\[[0-9;?]*[mABCDGHJKhl]")


def run_in_terminal(*arguments: str, cwd: Path, columns: int = 200, **variables: str) -> str:
    """Run the command in a terminal, and return what arrives there."""
    primary, secondary = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", "PYTHONUTF8": "1", **variables}
    command = [sys.executable, "-c", "from langchain_wan.cli import main; main()", *arguments]
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=secondary, stderr=secondary
    )
    os.close(secondary)
    arrived = b""
    while True:
        try:
            part = os.read(primary, 65536)
        except OSError:  # what Linux says at the end
            break
        if not part:
            break
        arrived += part
    process.wait()
    os.close(primary)
    return arrived.decode()


def check(arrived: str) -> str:
    """Check that nothing but rich controls the terminal, and return the text."""
    text = STYLE.sub("", arrived)
    lines = text.replace("\r", "").split("\n")
    assert [line for line in lines if has_control(line)] == []
    return text


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "prompts.txt").write_text(f"{HOSTILE.replace(chr(0x2028), '')}\n", encoding="utf-8")
    return tmp_path


def test_a_prompt_does_not_control_the_terminal_in_the_history(store: Path) -> None:
    check(run_in_terminal("generate", HOSTILE, "--sandbox", cwd=store))
    text = check(run_in_terminal("history", cwd=store, columns=400))
    assert r"\x1b]0;owned\x07" in text
    assert r"\x9d52;c;" in text
    assert r"\u202egnp.exe\u2066\u200f" in text


def test_a_prompt_does_not_control_the_terminal_in_a_batch(store: Path) -> None:
    text = check(run_in_terminal("generate", "--from", "prompts.txt", "--sandbox", cwd=store))
    assert "0 already done, 1 new" in text
    sheet = (store / "wan-images" / "contact-sheet.html").read_text(encoding="utf-8")
    assert [line for line in sheet.split("\n") if has_control(line)] == []
    assert r"\x1b]52;c;" in sheet


def test_a_call_that_fails_does_not_control_the_terminal(store: Path) -> None:
    with Sandbox(faults=["disconnect"]) as service:
        run = partial(run_in_terminal, cwd=store, AISA_API_KEY=service.api_key, AISA_BASE_URL=service.url)
        check(run("generate", HOSTILE))
        arrived = run("resume")
    assert r"\x1b]0;owned\x07" in check(arrived)


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "fox", "--image", f"{TITLE}.png"],
        ["generate", "fox", "--model", f"wan{TITLE}", "--sandbox"],
        ["generate", "--from", f"{CLIPBOARD}.txt"],
        ["generate", "fox", "--out", f"out{TITLE}", "--sandbox"],
        ["resolve", f"op{TITLE}", "--charged", "--out", "."],
        ["history", "--out", f"out{OVERRIDE}"],
        [f"history{TITLE}"],
        [f"--{TITLE}"],
    ],
)
def test_an_argument_does_not_control_the_terminal(arguments: list[str], store: Path) -> None:
    text = check(run_in_terminal(*arguments, cwd=store))
    assert r"\x" in text or r"\u" in text


def test_json_stays_json(store: Path) -> None:
    text = check(run_in_terminal("generate", HOSTILE, "--sandbox", "--json", cwd=store))
    assert json.loads(text[text.index("{\r") :])["prompt"] == HOSTILE


def test_a_file_name_that_is_not_unicode_is_shown(store: Path) -> None:
    name = os.fsdecode(b"out\xff")
    assert r"\udcff" in check(run_in_terminal("generate", "fox", "--out", name, "--sandbox", cwd=store))
