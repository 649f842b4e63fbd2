"""Which process carries out an operation, and whether it still lives: told by a lock that the kernel releases."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover  Windows: another process counts as dead, so its calls become uncertain
    fcntl = None  # type: ignore[assignment]


class Owner:
    """This process as an owner of operations, in a folder of locks that processes share, or in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._names: dict[int, str] = {}  # by process id: a forked child is another owner
        self._files: list[int] = []  # open for the life of the process: closing one would release its lock
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name of this process, locked as long as it lives."""
        with self._lock:
            process = os.getpid()
            if process not in self._names:
                self._names[process] = self._locked_name()
            return self._names[process]

    def is_alive(self, name: str) -> bool:
        """Say whether an owner may still be carrying out what it began."""
        if name == self._names.get(os.getpid()):
            return True
        if self._folder is None or fcntl is None:
            return False
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def _locked_name(self) -> str:
        name = uuid.uuid4().hex
        if self._folder is not None and fcntl is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
            self._files.append(descriptor)
        return name
