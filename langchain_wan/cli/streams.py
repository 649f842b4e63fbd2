"""Standard output and error as a command finds them: closed, full, or without the characters of a prompt.

What a command makes is billed, so a message that can't be written stops nothing: the command goes on, and fails at its
end.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def open_streams() -> None:
    """Open the streams that the caller closed, and show characters that their encoding lacks by number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  open as long as the process
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            with suppress(OSError):  # a descriptor that became a pipe can't tell where it stands
                stream.reconfigure(errors="backslashreplace")


def discard(stream: Any) -> None:
    """Let what is still to be written to a stream vanish, so that the interpreter does not fail at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class LastingStream(io.TextIOBase):
    """A standard stream that never raises.

    Attributes:
        error: The first error, after which nothing is written; or None.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.error: OSError | None = None

    @property
    def rich_proxied_file(self) -> LastingStream:
        """Return itself: while rich shows progress, the standard streams print through its console."""
        return self

    @property
    def _stream(self) -> Any:
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """The encoding of the stream."""
        return str(self._stream.encoding)

    def write(self, text: str) -> int:
        """Write a text, unless that failed before."""
        if self.error is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write what is in the buffer."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return bool(self._stream.isatty())

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._stream.fileno())

    def _give_up(self, error: OSError) -> None:
        self.error = error
        discard(self._stream)


stdout, stderr = LastingStream("stdout"), LastingStream("stderr")
