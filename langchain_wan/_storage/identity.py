"""Whether a ledger is the one that belongs to its folder, and all of it.

A ledger that was truncated, replaced, restored from an older copy or begun anew beside its images forgets what was
paid, so that a call would be paid twice. So the file `store.id` has the ledger's UUID and the number of its changes,
and a process remembers which file it opened.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from langchain_wan.errors import StoreError

_WIDTH = 20  # digits of a number of changes


class Identity:
    """The identity of one folder and its ledger, as one process knows it."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._file = ledger.parent / "store.id"
        self._opened: tuple[int, int, int] | None = None

    def check_new(self) -> None:
        """Check that a ledger may be begun here.

        Raises:
            StoreError: There are images or answers whose ledger is missing.
        """
        folder = self._ledger.parent
        leftovers = (path for name in ("raw", "blobs") for path in (folder / name).rglob("*") if path.is_file())
        if self._file.exists() or any(leftovers):
            raise StoreError(
                f"The image store {folder} has lost its ledger: {self._ledger.name} is missing or empty.",
                next_step="Restore the whole folder from a backup, or use another folder.",
            )

    def adopt(self, connection: sqlite3.Connection) -> None:
        """Compare an opened ledger with its folder, and remember which file it is.

        Raises:
            StoreError: It is another store's ledger, or an older one.
        """
        uuid, changes = read_changes(connection)
        try:
            own, number = self._file.read_text(errors="replace").split()
            newest = int(number)
        except FileNotFoundError:  # a new store, or one of an older format; a person may delete it
            self._file.touch(mode=0o600)
            own, newest = uuid, 0
        except ValueError:  # the process that made it was killed, or a disk was full
            own, newest = uuid, 0
        if own != uuid:
            raise StoreError(
                f"The ledger in {self._file.parent} belongs to another image store.",
                next_step=f"Restore the whole folder from a backup; or delete {self._file.name} if this is right.",
            )
        if newest > changes:
            raise StoreError(
                f"The ledger in {self._file.parent} has lost its {newest - changes} newest changes: a file was removed "
                "or damaged, or an older copy was put back.",
                next_step=f"Restore the whole folder from a backup; or delete {self._file.name} in it to go on without "
                "them, and check the account first: what was paid since then may be paid again.",
            )
        self.write(uuid, changes)
        self._opened = self._look()

    def check(self) -> None:
        """Check that the file that this process opened is still the ledger of the folder.

        Raises:
            StoreError: The folder or its ledger was moved, deleted, replaced or truncated.
        """
        now = self._look()
        if self._opened is not None and (now[:2] != self._opened[:2] or now[2] < self._opened[2]):
            raise self._build_error("replaced or truncated")
        self._opened = now

    def _look(self) -> tuple[int, int, int]:
        try:
            status = self._ledger.stat()
        except FileNotFoundError:
            raise self._build_error("moved or deleted") from None
        return status.st_dev, status.st_ino, status.st_size

    def _build_error(self, what: str) -> StoreError:
        return StoreError(
            f"The ledger {self._ledger} was {what} while this program used it.",
            next_step="Put the folder back, or start the program again.",
        )

    def write(self, uuid: str, changes: int) -> None:
        """Write down how many changes the ledger has; not forced to the disk, where the ledger may only be newer."""
        descriptor = os.open(self._file, os.O_WRONLY)
        try:
            os.write(descriptor, f"{uuid} {changes:0{_WIDTH}}\n".encode())
        finally:
            os.close(descriptor)


def read_changes(connection: sqlite3.Connection) -> tuple[str, int]:
    """Return the UUID of a ledger, and how many changes it has.

    Raises:
        StoreError: They are damaged.
    """
    try:
        ((uuid, changes),) = connection.execute("SELECT id, changes FROM store").fetchall()
        return str(uuid), int(changes)
    except (ValueError, TypeError) as error:
        raise StoreError(
            "The image store's ledger has lost its identity: the table `store` is damaged.",
            next_step="Restore the whole folder from a backup.",
        ) from error
