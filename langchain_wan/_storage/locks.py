"""File locks that end with the process that holds them, on POSIX and on Windows."""

from __future__ import annotations

import sys

# Each branch imports its own module when a lock is taken, so that importing the package needs neither.
if sys.platform == "win32":  # pragma: no cover  tested by simulation

    def try_lock(descriptor: int) -> bool:
        """Lock a file that is open for writing; False if another process, or this one, has locked it."""
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:

    def try_lock(descriptor: int) -> bool:
        """Lock a file that is open for writing; False if another process has locked it.

        The lock belongs to the process: closing any descriptor of the file in the same process releases it.
        """
        import fcntl

        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
