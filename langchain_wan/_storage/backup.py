"""A copy of a whole store, made while it is in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from langchain_wan._storage.blobs import DiskBlobs, MemoryBlobs
from langchain_wan._storage.sqlite import Database
from langchain_wan.errors import StoreError


def back_up(database: Database, blobs: MemoryBlobs | DiskBlobs, target: Path) -> None:
    """Copy a store to a new folder, which appears when it is whole.

    Raises:
        StoreError: There is something at the target, or it can't be written.
    """
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise StoreError(f"{target} exists already, so nothing was copied.", next_step="Name a new folder.")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=target.parent))  # created with mode 0700
        try:
            _copy(database, blobs, part)
            part.replace(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"The backup could not be written: {error}.", next_step="Check the disk.") from error


def _copy(database: Database, blobs: MemoryBlobs | DiskBlobs, part: Path) -> None:
    copies = DiskBlobs(part)
    blobs.copy_to(copies)
    with database.standstill() as connection:
        ledger = part / "ledger.sqlite3"
        os.close(os.open(ledger, os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(ledger)) as copy:
            connection.backup(copy)
        # Files are written before the ledger names them, and removed after it forgot them: what it names is here.
        blobs.copy_to(copies)
