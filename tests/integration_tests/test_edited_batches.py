"""A batch file that is edited at random between runs, some of which are killed: each line is paid once."""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from langchain_wan import WanStore
from langchain_wan.cli.app import app
from tests.support.examples import slow_examples
from tests.support.fault_server import FaultServer, Received, answer, reply
from tests.support.images import data_uri
from tests.support.processes import Program

COMMAND = """
import os, sys
os.chdir(sys.argv[1])
sys.argv[1:] = sys.argv[2:]
from langchain_wan.cli import main
main()
"""
GENERATE = ["generate", "--from", "prompts.txt", "--concurrency", "2"]
GOOD = reply(200, answer(data_uri()))

PROMPTS = st.sampled_from(["a fox", "a hare", "an owl", ""])
PLACES = st.integers(0, 7)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), PLACES, PROMPTS),
        st.tuples(st.just("delete"), PLACES, st.just("")),
        st.tuples(st.just("move"), PLACES, PLACES),
        st.tuples(st.just("duplicate"), PLACES, PLACES),
    ),
    min_size=1,
    max_size=4,
)
# After so many POSTs the process is killed; None lets it end.
RUNS = st.lists(st.tuples(EDITS, st.none() | st.integers(1, 3)), min_size=1, max_size=4)


def edit(lines: list[str], kind: str, place: int, extra: int | str) -> None:
    if isinstance(extra, str) and kind == "insert":
        lines.insert(place, extra)
    elif lines:
        line = lines[place % len(lines)]
        if kind in {"delete", "move"}:
            del lines[place % len(lines)]
        if isinstance(extra, int):
            lines.insert(extra, line)


@dataclass
class Service:
    """A server that kills the program with whose requests it is done."""

    posts: list[Received] = field(default_factory=list)
    program: Program | None = None
    left: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, connection: socket.socket, request: Received) -> None:
        with self.lock:
            self.posts.append(request)
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    assert self.program is not None
                    if self.left == 0:
                        self.program.send_signal(signal.SIGKILL)
                    return
        GOOD(connection, request)

    @property
    def prompts(self) -> Counter[str]:
        return Counter(post.json["messages"][0]["content"][-1]["text"] for post in self.posts)


@contextmanager
def in_folder(server: FaultServer) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        patch.setenv("AISA_BASE_URL", server.url)
        patch.setenv("AISA_API_KEY", server.api_key)
        yield Path(name)


def run(service: Service, folder: Path, kill_after: int | None) -> bool:
    """Run the batch once, and say whether it came to its end."""
    service.left = kill_after
    if kill_after is None:
        return CliRunner().invoke(app, GENERATE).exit_code in {0, 1}
    with Program(COMMAND, folder, *GENERATE) as service.program:
        return service.program.wait().returncode >= 0


@given(RUNS)
@slow_examples(500)
def test_each_line_is_paid_once(runs: list[tuple[list[tuple[str, int, int | str]], int | None]]) -> None:
    service, lines = Service(), list[str]()
    most, least = Counter[str](), Counter[str]()
    with FaultServer(service.answer) as server, in_folder(server) as folder:
        for edits, kill_after in [*runs, (list[tuple[str, int, int | str]](), None)]:
            for change in edits:
                edit(lines, *change)
            (folder / "prompts.txt").write_text("\n".join(lines))
            wanted = Counter(filter(None, lines))
            most |= wanted
            if run(service, folder, kill_after):
                least |= wanted
            history = WanStore(folder / "wan-images").history(1000) if most else []
            done = Counter(entry.prompt for entry in history if entry.state == "done")
            # A process may be killed right before the request: it stays uncertain, and is not sent. Or right after the
            # answer: it stays partial, until the next run fetches its image.
            unfinished = Counter(entry.prompt for entry in history if entry.state in {"uncertain", "partial"})
            assert done <= service.prompts <= done + unfinished
            assert least <= done + unfinished <= most
        keys = Counter(post.headers["idempotency-key"] for post in service.posts)
        assert set(keys.values()) <= {1}
