"""Which process carries out an operation, and whether it still lives: told by a lock that the kernel releases."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path

from langchain_wan._concurrency.forks import after_fork_in_child
from langchain_wan._storage.locks import try_lock


class Owner:
    """This process as an owner of operations, in a folder of locks that processes share, or in memory.

    Attributes:
        running: The operations that this process is carrying out, as (service, id).
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._names: dict[int, str] = {}  # by process id: a forked child is another owner
        self._files: list[int] = []  # open for the life of the process: closing one would release its lock
        self._lock = threading.Lock()
        self.running: set[tuple[str, str]] = set()

    @property
    def name(self) -> str:
        """The name of this process, locked as long as it lives."""
        process = os.getpid()
        if process not in self._names:
            with self._lock:
                if process not in self._names:
                    self._names[process] = self._create_name()
        return self._names[process]

    def is_running(self, owner: str, operation: tuple[str, str]) -> bool:
        """Say whether the owner of an operation still carries it out."""
        if owner == self._names.get(os.getpid()):
            return operation in self.running
        return self._is_alive(owner)

    def _is_alive(self, name: str) -> bool:
        if self._folder is None:
            return False
        path = self._folder / name
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            is_alive = not try_lock(descriptor)
        finally:
            os.close(descriptor)
        if not is_alive:
            path.unlink(missing_ok=True)
        return is_alive

    def _create_name(self) -> str:
        self.running.clear()  # what the parent of a forked process carries out is not this one's
        name = uuid.uuid4().hex
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            try_lock(descriptor)
            self._files.append(descriptor)
        return name


# One for each folder: these locks belong to the process, so that a second owner would take the first one for dead.
_owners: dict[str, Owner] = {}
_owners_lock = threading.Lock()


def find_owner(folder: Path | None) -> Owner:
    """Return this process as an owner in a folder; None means memory, where each store has its own."""
    if folder is None:
        return Owner(None)
    with _owners_lock:
        return _owners.setdefault(os.path.realpath(folder), Owner(folder))


def forget_owners() -> None:
    """Begin as a new process would: for tests that end one without ending."""
    _owners.clear()


def _renew_locks() -> None:
    global _owners_lock  # noqa: PLW0603  a lock that another thread held at the fork stays locked
    _owners_lock = threading.Lock()
    for owner in _owners.values():
        owner._lock = threading.Lock()


after_fork_in_child(_renew_locks)
