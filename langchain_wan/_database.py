"""One SQLite database, in a file that processes share or in memory, opened when it is first used."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_wan.errors import StoreError

VERSION = 1
BUSY_TIMEOUT = 10.0  # seconds to wait for another process that writes

# The words of the partial index; a query uses it where they stand in it too.
UNCLEAR = "state IN ('uncertain', 'partial', 'paid', 'started')"

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, facts TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS names (
    scope TEXT NOT NULL, name TEXT NOT NULL, image_id TEXT NOT NULL, created_at REAL NOT NULL,
    url TEXT, expires_at TEXT, PRIMARY KEY (scope, name));
CREATE INDEX IF NOT EXISTS names_by_image ON names (image_id);
CREATE TABLE IF NOT EXISTS uploads (
    thread TEXT NOT NULL, digest TEXT NOT NULL, number INTEGER NOT NULL, place TEXT NOT NULL,
    PRIMARY KEY (thread, digest));
CREATE TABLE IF NOT EXISTS operations (
    service TEXT NOT NULL, id TEXT NOT NULL, scope TEXT NOT NULL, fingerprint TEXT NOT NULL, turn TEXT NOT NULL,
    state TEXT NOT NULL, owner TEXT NOT NULL, request TEXT NOT NULL, max_nano INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT, created_at REAL NOT NULL,
    PRIMARY KEY (service, id));
CREATE INDEX IF NOT EXISTS operations_unclear ON operations (service, scope, fingerprint) WHERE {unclear};
CREATE INDEX IF NOT EXISTS operations_by_age ON operations (created_at);
CREATE TABLE IF NOT EXISTS makers (
    image_id TEXT NOT NULL, service TEXT NOT NULL, operation TEXT NOT NULL, PRIMARY KEY (image_id, service, operation));
CREATE TABLE IF NOT EXISTS spending (
    service TEXT NOT NULL, budget TEXT NOT NULL, operation TEXT NOT NULL, held INTEGER NOT NULL,
    nano INTEGER NOT NULL, images INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (service, operation));
CREATE INDEX IF NOT EXISTS spending_by_budget ON spending (service, budget, created_at, held, nano, images);
CREATE TABLE IF NOT EXISTS totals (
    service TEXT NOT NULL, budget TEXT NOT NULL, nano INTEGER NOT NULL, held_nano INTEGER NOT NULL,
    images INTEGER NOT NULL, PRIMARY KEY (service, budget));
CREATE TRIGGER IF NOT EXISTS spending_added AFTER INSERT ON spending BEGIN
    INSERT OR IGNORE INTO totals VALUES (new.service, new.budget, 0, 0, 0);
    UPDATE totals SET nano = nano + new.nano * (1 - new.held), held_nano = held_nano + new.nano * new.held,
        images = images + new.images WHERE service = new.service AND budget = new.budget;
END;
CREATE TRIGGER IF NOT EXISTS spending_changed AFTER UPDATE ON spending BEGIN
    UPDATE totals SET nano = nano + new.nano * (1 - new.held) - old.nano * (1 - old.held),
        held_nano = held_nano + new.nano * new.held - old.nano * old.held,
        images = images + new.images - old.images WHERE service = new.service AND budget = new.budget;
END;
CREATE TRIGGER IF NOT EXISTS spending_gone AFTER DELETE ON spending BEGIN
    UPDATE totals SET nano = nano - old.nano * (1 - old.held), held_nano = held_nano - old.nano * old.held,
        images = images - old.images WHERE service = old.service AND budget = old.budget;
END;
"""

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
