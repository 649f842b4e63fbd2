"""Programs in processes of their own.

A new Python needs seconds for its imports alone. The fork server of `multiprocessing` imports them once, in a process
that shares nothing with the tests, and forks a process for each program.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import NamedTuple, Self

LOADED = [
    "langchain_wan.client",
    "langchain_wan._call.drivers",
    "langchain_wan._call.flow",
    "langchain_wan._media.encode",
    "langchain_wan._net.download",
    "langchain_wan._net.transport",
    "langchain_wan.runnables",
    "langchain_wan.store",
    "rich.progress",
    "rich.table",
    "tests.support.processes",
    "typer",
]

_fork_server = multiprocessing.get_context("forkserver")
_fork_server.set_forkserver_preload(LOADED)
_pid = os.getpid()


def _context() -> ForkServerContext | SpawnContext:
    # The mutation tests fork this process, and a child can't ask the fork server of its parent.
    return _fork_server if os.getpid() == _pid else multiprocessing.get_context("spawn")


class Ended(NamedTuple):
    """How a program ended; a negative code is the signal that killed it."""

    returncode: int
    stdout: str
    stderr: str


class Program:
    """A program that runs. It reads its arguments from `sys.argv[1:]`, and may print up to 64 KiB."""

    def __init__(self, source: str, *arguments: object) -> None:
        context = _context()
        self._stdout, stdout = context.Pipe(duplex=False)
        self._folder = tempfile.TemporaryDirectory()
        self._stderr = Path(self._folder.name) / "stderr"
        words = [str(argument) for argument in arguments]
        self.process = context.Process(
            target=_execute, args=(source, words, dict(os.environ), stdout, str(self._stderr)), daemon=True
        )
        self.process.start()
        stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()
        self._stdout.close()
        self._folder.cleanup()

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self, timeout: float = 120) -> Ended:
        self.process.join(timeout)
        assert self.process.exitcode is not None, "the program did not end"
        with os.fdopen(os.dup(self._stdout.fileno())) as stdout:
            return Ended(self.process.exitcode, stdout.read(), self._stderr.read_text())


def run_program(source: str, *arguments: object, timeout: float = 120) -> Ended:
    """Run a program to its end."""
    with Program(source, *arguments) as program:
        return program.wait(timeout)


def _execute(source: str, words: list[str], environment: dict[str, str], stdout: Connection, stderr: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(stdout.fileno(), 1)
    stdout.close()
    os.dup2(os.open(stderr, os.O_CREAT | os.O_WRONLY, 0o600), 2)
    sys.argv = ["-c", *words]
    exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})  # noqa: S102  the program of a test
