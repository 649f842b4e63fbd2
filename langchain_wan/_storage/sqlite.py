"""One SQLite database, in a file that processes share or in memory, opened when it is first used."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_wan._storage.migrations import SCHEMA, UNCLEAR, VERSION
from langchain_wan.errors import StoreError

BUSY_TIMEOUT = 10.0  # seconds to wait for another process that writes

# Every statement of a memory ledger runs under this lock, and a fork waits for it: the child gets a whole database.
_MEMORY_LOCK = threading.RLock()
os.register_at_fork(
    before=_MEMORY_LOCK.acquire, after_in_parent=_MEMORY_LOCK.release, after_in_child=_MEMORY_LOCK.release
)


class Database:
    """A connection of this process, opened again in each process that was forked from it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock: Any = _MEMORY_LOCK if path is None else threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._left_to_parent: list[sqlite3.Connection] = []  # closing them here would drop the parent's locks
        self._process = os.getpid()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one write; all of it happens, or nothing.

        Raises:
            StoreError: The database can't be opened, is damaged, locked, full or of a newer version.
        """
        if self._path is not None and self._process != os.getpid():
            self._lock, self._process = threading.RLock(), os.getpid()
            if self._connection is not None:
                self._left_to_parent.append(self._connection)
            self._connection = None
        with self._lock:
            try:
                connection = self._connection or self._opened()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError, UnicodeError) as error:  # half of a surrogate pair can't be stored
                raise StoreError(
                    f"The image store's ledger could not be used: {error}.", next_step="Check the store's folder."
                ) from error

    def _opened(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
        target = ":memory:" if self._path is None else str(self._path)
        connection = sqlite3.connect(target, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            connection.close()
            raise StoreError(
                f"The image store was written by a newer version of langchain-wan (format {version}).",
                next_step="Upgrade langchain-wan.",
            )
        connection.executescript(SCHEMA.format(unclear=UNCLEAR))
        connection.execute(f"PRAGMA user_version={VERSION}")
        self._connection = connection
        return connection
