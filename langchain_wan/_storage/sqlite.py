"""One SQLite database, in a file that processes share or in memory, opened when it is first used.

SQLite's own locks are of the process, and gone once it closes any descriptor of the database, as it does to copy the
folder. So writing and opening also take a lock that survives that. It waits in steps, so that a fork need not.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from langchain_wan._concurrency.forks import ForkGate, current_process, lock_across_forks
from langchain_wan._storage.identity import Identity, read_changes
from langchain_wan._storage.locks import LockFile
from langchain_wan._storage.migrations import migrate
from langchain_wan.errors import StoreError

BUSY_TIMEOUT = 10.0  # seconds to wait for another process that writes
_FIRST_WAIT, _LONGEST_WAIT = 0.001, 0.025  # seconds between two attempts to write
_WRITER = 0  # the number that whoever writes or opens a database has locked

# Every statement of a database in memory runs under this lock, and a fork waits for it: the child gets a whole one.
_MEMORY_LOCK = threading.RLock()
lock_across_forks(_MEMORY_LOCK)
# SQLite has locks of its own inside, which a child would find locked for ever by a thread that it does not have.
_statements = ForkGate()

# Connections of a parent process: SQLite allows a forked child neither to use nor to close them.
# https://www.sqlite.org/howtocorrupt.html, section 2.6 (2026-11)
_connections_of_parent: list[sqlite3.Connection] = []


class Database:
    """The connections of this process to a database, opened again in each process that was forked from it.

    Reading and writing have a connection each, so that reading does not wait for anybody who writes.

    Attributes:
        path: The file, or None for memory.

    Args:
        path: As above.
        born_in: The process that made the store; None means this one.
    """

    def __init__(self, path: Path | None, born_in: object = None) -> None:
        self.path = path
        self._born_in = born_in or current_process()
        self._use_in_this_process()

    def _use_in_this_process(self) -> None:
        self._process = current_process()
        if self.path is None:
            self._writer = self._reader = _Connection(None, None, _MEMORY_LOCK)
        else:
            folder = _Folder(self.path)
            self._writer = _Connection(self.path, folder, threading.RLock())
            self._reader = _Connection(self.path, folder, threading.RLock())

    @property
    def is_inherited(self) -> bool:
        """Whether it is in memory and a copy of what the parent of this process has."""
        return self.path is None and self._born_in is not current_process()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one write; all of it happens, or nothing.

        Raises:
            StoreError: The database can't be opened, is damaged, locked, full, of a newer version, or not the one that
                was opened.
        """
        with self._find("_writer").write() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Run queries on one state of the database, without waiting for another process that writes.

        Raises:
            StoreError: The database can't be opened, is damaged, of a newer version, or not the one that was opened.
        """
        with self._find("_reader").read() as connection:
            yield connection

    @contextmanager
    def standstill(self) -> Iterator[sqlite3.Connection]:
        """Read what was written last, and let nobody write meanwhile.

        Raises:
            StoreError: As for `transaction`.
        """
        if self.path is None:
            with self.read() as connection:
                yield connection
        else:
            self.check()  # opening takes the lock of whoever writes
            with self.transaction(), self.read() as connection:
                yield connection

    def check(self) -> None:
        """Open the database if need be, and check that it is still the one of its folder.

        Raises:
            StoreError: As for `read`.
        """
        self._find("_reader").check()

    def _find(self, name: str) -> _Connection:
        if self.path is not None and self._process is not current_process():
            self._use_in_this_process()
        connection: _Connection = getattr(self, name)
        return connection


class _Folder:
    """What the connections of a process to one file have in common: its identity, and the lock of whoever writes."""

    def __init__(self, ledger: Path) -> None:
        self.identity = Identity(ledger)
        self._ledger = ledger
        self._lock = threading.Lock()
        self._file: LockFile | None = None

    def try_lock(self) -> bool:
        """Become the one who writes or opens; False if another process or thread is."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._file is None:
                self._ledger.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = LockFile(self._ledger.parent / "store.lock")
            is_locked = self._file.try_lock(_WRITER)
        except BaseException:
            self._lock.release()
            raise
        if not is_locked:
            self._lock.release()
        return is_locked

    def unlock(self) -> None:
        """Let others write and open."""
        if self._file is not None and not self._file.is_closed:  # a forked child has closed it
            self._file.unlock(_WRITER)
        self._lock.release()


class _Connection:
    """One connection to a database; `folder` is None for memory."""

    def __init__(self, path: Path | None, folder: _Folder | None, lock: threading.RLock) -> None:
        self._path, self._folder, self._lock = path, folder, lock
        self._open: sqlite3.Connection | None = None
        self._process = current_process()

    def check(self) -> None:
        with self._lock, _store_errors():
            self._check()

    def _check(self) -> None:
        if self._folder is not None:
            if self._open is None:
                with ExitStack() as opening:
                    self._attempt(self._folder, "SELECT 1", opening)
            self._folder.identity.check()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _store_errors(), ExitStack() as stack:
            self._check()
            if self._folder is not None:
                stack.enter_context(_statements)
            connection = self._open or self._connect()
            connection.execute("BEGIN")
            with self._ending(connection):
                yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _store_errors(), ExitStack() as stack:
            if self._folder is None:
                connection = self._open or self._connect()
                connection.execute("BEGIN IMMEDIATE")
                with self._ending(connection):
                    yield connection
                return
            connection = self._attempt(self._folder, "BEGIN IMMEDIATE", stack)
            identity, before, counted = self._folder.identity, connection.total_changes, None
            with self._ending(connection):
                identity.check()
                yield connection
                if connection.total_changes != before:
                    connection.execute("UPDATE store SET changes = changes + 1")
                    counted = read_changes(connection)
            if counted is not None:
                with suppress(OSError):  # it is written; what became of the folder is noticed next time
                    identity.write(*counted)

    def _attempt(self, folder: _Folder, statement: str, stack: ExitStack) -> sqlite3.Connection:
        """Carry out a first statement, with the lock of the folder, which `stack` frees; open the database for it."""
        deadline, wait = time.monotonic() + BUSY_TIMEOUT, _FIRST_WAIT
        while True:
            with ExitStack() as attempt:
                attempt.enter_context(_statements)
                if folder.try_lock():
                    attempt.callback(folder.unlock)
                    try:
                        connection = self._open or self._connect()
                        connection.execute(statement)
                    except sqlite3.OperationalError as error:
                        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                            raise
                    else:
                        stack.enter_context(attempt.pop_all())
                        return connection
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("database is locked")
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    @contextmanager
    def _ending(self, connection: sqlite3.Connection) -> Iterator[None]:
        try:
            yield
            self._check_process()
            connection.execute("COMMIT")
        except BaseException:
            if self._process is current_process() and connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _check_process(self) -> None:
        if self._path is not None and self._process is not current_process():
            raise StoreError("This process was forked while it used the image store.", next_step="Call again.")

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None and self._folder is not None and not _has_content(self._path):
            self._folder.identity.check_new()
            self._path.touch(mode=0o600)
        target = ":memory:" if self._path is None else str(self._path)
        connection = sqlite3.connect(target, timeout=0.1, isolation_level=None, check_same_thread=False)
        try:
            # What is not UTF-8 is damaged, and must not keep the other rows from being read.
            connection.text_factory = lambda text: text.decode(errors="replace")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            migrate(connection, None if self._path is None else self._path.parent)
            if self._folder is not None:
                self._folder.identity.adopt(connection)
        except BaseException:
            connection.close()
            raise
        # Nobody closes a store: it ends with the last object that uses it, or with the process.
        weakref.finalize(self, _close, connection, None if self._path is None else self._process)
        self._open = connection
        return connection


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeError, OverflowError, MemoryError) as error:  # a lone surrogate, ...
        raise StoreError(
            f"The image store's ledger could not be used: {error}.", next_step="Check the store's folder."
        ) from error


def _close(connection: sqlite3.Connection, process: object) -> None:
    if process is not None and process is not current_process():
        _connections_of_parent.append(connection)
    else:
        connection.close()
