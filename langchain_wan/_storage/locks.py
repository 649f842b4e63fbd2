"""Locked bytes of a file: each lock ends with the process that has it, on POSIX and on Windows.

Only numbers are locked: nothing need be written there, and a file has room for every number.
"""

from __future__ import annotations

import os
import struct
import sys
import weakref
from pathlib import Path

from langchain_wan._concurrency.forks import after_fork_in_child

# Each branch imports its own module when a lock is taken, so that importing the package needs neither.
if sys.platform == "win32":  # pragma: no cover  tested by simulation
    NUMBERS = 2**30  # the C library counts in 32 bits

    def _try(descriptor: int, number: int) -> bool:
        import msvcrt

        os.lseek(descriptor, number, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int, number: int) -> None:
        import msvcrt

        os.lseek(descriptor, number, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def _is_locked(descriptor: int, number: int) -> bool:
        return _is_locked_by_trial(descriptor, number)

elif sys.platform == "linux":
    NUMBERS = 2**62

    # Locks of an open file description. A lock of POSIX is gone once the process closes any descriptor of the file,
    # as it does to copy it. Source: https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html (2026-11)
    def _try(descriptor: int, number: int) -> bool:
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _describe(fcntl.F_WRLCK, number))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(descriptor: int, number: int) -> None:
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _describe(fcntl.F_UNLCK, number))

    def _is_locked(descriptor: int, number: int) -> bool:
        import fcntl

        lock = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _describe(fcntl.F_WRLCK, number))
        kind: int = struct.unpack(_FLOCK, lock)[0]
        return kind != fcntl.F_UNLCK

    _FLOCK = "hhqqi0q"  # l_type, l_whence, l_start, l_len, l_pid

    def _describe(kind: int, number: int) -> bytes:
        return struct.pack(_FLOCK, kind, os.SEEK_SET, number, 1, 0)

else:  # pragma: no cover  other systems have locks of the process only
    NUMBERS = 2**62

    def _try(descriptor: int, number: int) -> bool:
        import fcntl

        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(descriptor: int, number: int) -> None:
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, number)

    def _is_locked(descriptor: int, number: int) -> bool:
        return _is_locked_by_trial(descriptor, number)


def _is_locked_by_trial(descriptor: int, number: int) -> bool:
    if not _try(descriptor, number):
        return True
    _unlock(descriptor, number)
    return False


class LockFile:
    """A file whose numbers can be locked by one object each, of whatever process.

    Raises:
        OSError: The file can't be opened, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        _open_files.add(self)
        self._end = weakref.finalize(self, os.close, self._descriptor)
        self._end.atexit = False  # calls may end later than that; the system closes it

    def try_lock(self, number: int) -> bool:
        """Lock a number; False if another object has it."""
        return _try(self._opened(), number)

    def unlock(self, number: int) -> None:
        """Free a number that this object has locked."""
        _unlock(self._opened(), number)

    def is_locked(self, number: int) -> bool:
        """Say whether another object has locked a number."""
        return _is_locked(self._opened(), number)

    def close(self) -> None:
        """Free everything that this object has locked."""
        self._descriptor = None
        self._end()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, or belongs to the parent of this process."""
        return self._descriptor is None

    def _opened(self) -> int:
        if self._descriptor is None:
            raise OSError("the lock file is closed")
        return self._descriptor


_open_files: weakref.WeakSet[LockFile] = weakref.WeakSet()


def _close_inherited() -> None:
    # A child shares the locks of its parent, which would outlive the parent in it.
    for file in list(_open_files):
        file.close()


after_fork_in_child(_close_inherited)
