"""Who carries out which operation, and whether they still do: a lock for each, which the kernel frees."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_wan._concurrency.forks import after_fork_in_child, current_process
from langchain_wan._storage.locks import NUMBERS, LockFile

FIRST_OPERATION = 1 << 10  # the numbers below it lock other things than operations

Key = tuple[str, str]


class Owner:
    """This process, as one of those that carry out the operations of a store; None as the file means memory.

    Attributes:
        name: What the ledger calls this process.
        unwritten: What could not be written of calls that ended here; the next transaction writes it.
    """

    def __init__(self, file: Path | None) -> None:
        self._path = file
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._process = current_process()
        self._name = uuid.uuid4().hex
        self._running: set[Key] = set()  # what the parent of a forked process carries out is not this one's
        self._file: LockFile | None = None
        self.unwritten: list[Callable[[Any], None]] = []

    def _renew(self) -> None:
        if self._process is not current_process():
            self._begin()

    @property
    def name(self) -> str:
        """What the ledger calls this process."""
        self._renew()
        return self._name

    def start(self, operation: Key) -> bool:
        """Note that this process carries out an operation; False if another one does."""
        with self._lock:
            self._renew()
            is_shared = self._path is not None and operation not in self._running
            if is_shared and not self._open().try_lock(_number(operation)):
                return False
            self._running.add(operation)
        return True

    def end(self, operation: Key) -> None:
        """Note that this process does not carry out an operation any more."""
        with self._lock:
            self._renew()
            if operation in self._running:
                self._running.discard(operation)
                if self._file is not None and not self._file.is_closed:
                    self._file.unlock(_number(operation))

    def is_running(self, operation: Key) -> bool:
        """Say whether this process or another one carries out an operation."""
        with self._lock:
            self._renew()
            if operation in self._running or self._path is None:
                return operation in self._running
            return self._open().is_locked(_number(operation))

    def _open(self) -> LockFile:
        if self._file is None:
            assert self._path is not None  # noqa: S101  in memory nothing is locked
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = LockFile(self._path)
        return self._file

    def close(self) -> None:
        """End as the process would."""
        if self._file is not None:
            self._file.close()


def _number(operation: Key) -> int:
    digest = hashlib.sha256("\0".join(operation).encode("utf-8", "surrogatepass")).digest()
    return FIRST_OPERATION + int.from_bytes(digest[:8], "big") % (NUMBERS - FIRST_OPERATION)


# One for each lock file in use: what one object of this process carries out is known to all.
_owners: weakref.WeakValueDictionary[str, Owner] = weakref.WeakValueDictionary()
_owners_lock = threading.Lock()


def find_owner(file: Path | None) -> Owner:
    """Return this process as an owner in a store; None means memory, where each store has its own."""
    if file is None:
        return Owner(None)
    with _owners_lock:
        path = os.path.realpath(file)
        owner = _owners.get(path)
        if owner is None:
            owner = _owners[path] = Owner(file)
        return owner


def forget_owners() -> None:
    """Begin as a new process would: for tests that end one without ending."""
    for owner in list(_owners.values()):
        owner.close()
    _owners.clear()


def _renew_locks() -> None:
    global _owners_lock  # noqa: PLW0603  a lock that another thread held at the fork stays locked
    _owners_lock = threading.Lock()
    for owner in list(_owners.values()):
        owner._lock = threading.Lock()


after_fork_in_child(_renew_locks)
