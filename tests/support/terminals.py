"""The command at a terminal of a given width, as a person sees it."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

COMMAND = str(Path(sys.executable).parent / "langchain-wan")
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Ended(NamedTuple):
    """How a command ended, and what was written to its terminal, without colours."""

    returncode: int
    text: str


class Terminal:
    """A command that runs at a terminal of its own."""

    def __init__(self, *arguments: str, columns: int, folder: Path, environment: Mapping[str, str]) -> None:
        self._screen, screen = os.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        variables = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=folder,
            env={**variables, "TERM": "xterm-256color", **environment},
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
        )
        os.close(screen)
        self._written = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._screen, text.encode())

    def read_until(self, text: str) -> str:
        """Return what was written, as soon as a text is in it."""
        while text not in self._written:
            assert self._read(), f"{text!r} did not come: {self._written}"
        return self._written

    def wait(self) -> Ended:
        """Wait until the command ends."""
        while self._read():
            pass
        return Ended(self.process.wait(60), self._written)

    def _read(self) -> bool:
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # the other side is closed
            return False
        text = _SEQUENCE.sub("", data.decode(errors="replace"))
        self._written += text.replace("\r\n", "\n")
        return bool(data)
