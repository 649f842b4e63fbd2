"""File locks that end with the process that holds them, on POSIX and on Windows."""

from __future__ import annotations

import sys

if sys.platform == "win32":  # pragma: no cover  tested by simulation
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock a file that is open for writing; False if another process, or this one, has locked it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock a file that is open for writing; False if another process has locked it.

        The lock belongs to the process: closing any descriptor of the file in the same process releases it.
        """
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
