"""Ctrl-C in the command: the first waits for what is in flight, the second abandons it and says what that means."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import WanStore
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import data_uri
from tests.support.processes import Program, run_program

# A job of a shell that runs in the background ignores Ctrl-C, and so would its children.
COMMAND = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.chdir(sys.argv[1])
os.environ |= {"AISA_BASE_URL": sys.argv[2], "AISA_API_KEY": sys.argv[3]}
sys.argv[1:] = sys.argv[4:]
from langchain_wan.cli import main
main()
"""
AT_A_TERMINAL = """
import fcntl, os, struct, sys, termios
terminal = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
os.login_tty(terminal)
del sys.argv[1]
"""
BATCH = ["generate", "--from", "prompts.txt", "--concurrency", "2", "--out", "my images"]
SINGLE = ["generate", "a fox", "--out", "my images"]
WAITING = "Press Ctrl-C again to abandon it."
STEP = r"langchain-wan resolve (\S+) --not-charged --out 'my images'"


class Terminal:
    """A command at a terminal; `press` types Ctrl-C."""

    def __init__(self, *arguments: object) -> None:
        self._master, slave = os.openpty()
        self._program = Program(AT_A_TERMINAL + COMMAND, os.ttyname(slave), *arguments)
        self._text = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._slave = slave

    def _read(self) -> None:
        while True:
            try:
                self._text += os.read(self._master, 65536)
            except OSError:
                return

    @property
    def text(self) -> str:
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self._text.decode())
        return " ".join(plain.split())  # as it is read, however it is wrapped

    @property
    def summary(self) -> str:
        return self.text

    def press(self) -> None:
        os.write(self._master, b"\x03")

    def wait(self) -> int:
        return self._program.wait().returncode

    def close(self) -> None:
        self._program.__exit__()
        os.close(self._slave)
        os.close(self._master)


class Pipe:
    """A command whose outputs are files; `press` sends the signal."""

    def __init__(self, *arguments: object) -> None:
        self._program = Program(COMMAND, *arguments)

    @property
    def text(self) -> str:
        return self._program._stderr.read_text() if self._program._stderr.exists() else ""

    def press(self) -> None:
        self._program.send_signal(signal.SIGINT)

    def wait(self) -> int:
        ended = self._program.wait()
        self.summary = ended.stdout
        return ended.returncode

    def close(self) -> None:
        self._program.__exit__()


Started = Callable[..., Any]


@pytest.fixture(params=[Pipe, Terminal])
def start(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Start a command in a folder, at a server."""
    started: list[Any] = []

    def begin(folder: Path, server: FaultServer, arguments: list[str]) -> Any:
        started.append(request.param(folder, server.url, server.api_key, *arguments))
        return started[-1]

    yield begin
    for command in started:
        command.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def holding_back(free: int = 0) -> Iterator[tuple[FaultServer, threading.Event]]:
    """A server that answers so many requests, and the others when the event is set."""
    released, image = threading.Event(), answer(data_uri())
    with FaultServer(*[reply(200, image)] * free, reply(200, image, when=released)) as server:
        yield server, released
        released.set()


def prompts_of(server: FaultServer) -> list[str]:
    return [post.json["messages"][0]["content"][-1]["text"] for post in server.posts]


@pytest.fixture
def prompts(tmp_path: Path) -> list[str]:
    lines = [f"fox {number}" for number in range(8)]
    (tmp_path / "prompts.txt").write_text("\n".join(lines))
    return lines


def test_the_first_waits_for_what_is_in_flight_and_begins_nothing_new(
    start: Started, prompts: list[str], tmp_path: Path
) -> None:
    with holding_back(1) as (server, released):
        command = start(tmp_path, server, BATCH)
        until(lambda: len(server.posts) == 3)
        command.press()
        until(lambda: WAITING in command.text)
        assert re.search(r"Waiting for lines \d, \d: what was sent is billed", command.text)
        released.set()
        assert command.wait() == 130
        assert "Run the same command again to make the rest." in command.text
        assert "-:--:--" not in command.text  # an estimate would count lines that were done before
        assert len(server.posts) == 3
        assert [entry.state for entry in WanStore(tmp_path / "my images").history()] == ["done"] * 3
        again = run_program(COMMAND, tmp_path, server.url, server.api_key, *BATCH)
        assert "3 already done, 5 new, $0.15 this run, $0.24 in all" in again.stdout
        assert sorted(prompts_of(server)) == prompts


def test_the_second_abandons_it_and_prints_each_id_with_what_it_means(
    start: Started, prompts: list[str], tmp_path: Path
) -> None:
    with holding_back(1) as (server, released):
        command = start(tmp_path, server, BATCH)
        until(lambda: len(server.posts) == 3)
        command.press()
        until(lambda: WAITING in command.text)
        command.press()
        assert command.wait() == 130
        sent = r"Abandoned line (\d), (\S+): It was sent\. It may have been charged \(\$0\.03\)\."
        abandoned = re.findall(sent, command.text)
        store = WanStore(tmp_path / "my images")
        assert len(abandoned) == 2
        assert {operation for _, operation in abandoned} == {entry.operation_id for entry in store.unfinished()}
        assert command.text.count("settle the 2 calls: ") == 1
        assert command.text.count("the same command again") == 1  # the steps stand at the end, once
        assert f"resolve {abandoned[0][1]}" not in command.text
        assert "0 already done, 1 new, $0.03 this run, $0.03 in all; 2 uncertain " in command.summary
        assert "; 2 uncertain ($0.06 may have been charged); 5 not started:" in command.summary
        assert "resolve --all --not-charged --out 'my images'" in command.text
        assert "Traceback" not in command.text
        # Two more commands, and every image is there.
        released.set()
        for _, operation in abandoned:
            store.resolve(operation, "not_charged")
        again = run_program(COMMAND, tmp_path, server.url, server.api_key, *BATCH)
        assert "1 already done, 7 new" in again.stdout
        assert sorted(prompts_of(server)) == sorted([*prompts, *(prompts[int(line) - 1] for line, _ in abandoned)])


def test_a_single_image_is_waited_for_too(start: Started, tmp_path: Path) -> None:
    with holding_back() as (server, released):
        command = start(tmp_path, server, SINGLE)
        until(lambda: len(server.posts) == 1)
        command.press()
        until(lambda: WAITING in command.text)
        released.set()
        assert command.wait() == 130
        assert len(list((tmp_path / "my images").glob("img_*"))) == 1
        assert [entry.state for entry in WanStore(tmp_path / "my images").history()] == ["done"]


def test_a_single_image_that_is_abandoned_has_an_id(start: Started, tmp_path: Path) -> None:
    with holding_back() as (server, _):
        command = start(tmp_path, server, SINGLE)
        until(lambda: len(server.posts) == 1)
        command.press()
        until(lambda: WAITING in command.text)
        command.press()
        assert command.wait() == 130
        (entry,) = WanStore(tmp_path / "my images").unfinished()
        assert entry.state == "uncertain"
        assert f"Abandoned the call, {entry.operation_id}: It was sent. It may have been charged" in command.text
        assert re.findall(STEP, command.text) == [entry.operation_id]
        assert "Traceback" not in command.text


def test_a_program_in_the_background_that_ignores_ctrl_c_goes_on(tmp_path: Path) -> None:
    with holding_back() as (server, released):
        ignoring = COMMAND.replace("signal.default_int_handler", "signal.SIG_IGN")
        with Program(ignoring, tmp_path, server.url, server.api_key, *SINGLE) as program:
            until(lambda: len(server.posts) == 1)
            program.send_signal(signal.SIGINT)
            program.send_signal(signal.SIGINT)
            released.set()
            assert program.wait().returncode == 0
