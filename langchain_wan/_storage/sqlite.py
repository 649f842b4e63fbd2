"""One SQLite database, in a file that processes share or in memory, opened when it is first used."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from langchain_wan._concurrency.forks import lock_across_forks
from langchain_wan._storage.migrations import migrate
from langchain_wan.errors import StoreError

BUSY_TIMEOUT = 10.0  # seconds to wait for another process that writes

# Every statement of a database in memory runs under this lock, and a fork waits for it: the child gets a whole one.
_MEMORY_LOCK = threading.RLock()
lock_across_forks(_MEMORY_LOCK)

# Connections of a parent process: SQLite allows a forked child neither to use nor to close them.
# https://www.sqlite.org/howtocorrupt.html, section 2.6 (2026-11)
_connections_of_parent: list[sqlite3.Connection] = []


class Database:
    """The connections of this process to a database, opened again in each process that was forked from it.

    Reading and writing have a connection each, so that reading does not wait for anybody who writes.

    Attributes:
        path: The file, or None for memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._use_in_this_process()

    def _use_in_this_process(self) -> None:
        self._process = os.getpid()
        memory = self.path is None
        self._writer = _Connection(self.path, _MEMORY_LOCK if memory else threading.RLock())
        self._reader = self._writer if memory else _Connection(self.path, threading.RLock())

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one write; all of it happens, or nothing.

        Raises:
            StoreError: The database can't be opened, is damaged, locked, full or of a newer version.
        """
        with self._find("_writer").run("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Run queries on one state of the database, without waiting for another process that writes.

        Raises:
            StoreError: The database can't be opened, is damaged or of a newer version.
        """
        with self._find("_reader").run("BEGIN") as connection:
            yield connection

    def _find(self, name: str) -> _Connection:
        if self.path is not None and self._process != os.getpid():
            self._use_in_this_process()
        connection: _Connection = getattr(self, name)
        return connection


class _Connection:
    def __init__(self, path: Path | None, lock: threading.RLock) -> None:
        self._path, self._lock = path, lock
        self._open: sqlite3.Connection | None = None

    @contextmanager
    def run(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._open or self._connect()
                connection.execute(begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError, UnicodeError) as error:  # a lone surrogate can't be stored
                raise StoreError(
                    f"The image store's ledger could not be used: {error}.", next_step="Check the store's folder."
                ) from error

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None and not self._path.exists():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        target = ":memory:" if self._path is None else str(self._path)
        connection = sqlite3.connect(target, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        # Nobody closes a store: it ends with the last object that uses it, or with the process.
        weakref.finalize(self, _close, connection, None if self._path is None else os.getpid())
        self._open = connection
        return connection


def _close(connection: sqlite3.Connection, process: int | None) -> None:
    if process is not None and process != os.getpid():
        _connections_of_parent.append(connection)
    else:
        connection.close()
