"""Files that appear under their names only when they are whole and on the disk."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600  # for the owner only
PLAIN = 0o666  # less what the umask of the process takes away, like any file of a program


def write_whole(target: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Write a file; when this returns it is on the disk. What had the name, be it a symbolic link, is replaced."""
    temporary = target.with_name(f".{uuid.uuid4().hex}.part")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    if os.name != "nt":  # Windows opens no folders; its file system writes their entries down itself
        _sync_folder(target.parent)


def write_new(target: Path, data: bytes, mode: int = PLAIN) -> None:
    """Write a file under a name that nobody chose; do nothing if it is there already.

    Raises:
        FileExistsError: Something else has the name, and stays as it is; the error says what.
    """
    try:
        status = target.lstat()
    except FileNotFoundError:
        write_whole(target, data, mode)
        return
    if not stat.S_ISREG(status.st_mode) or status.st_size != len(data) or target.read_bytes() != data:
        raise FileExistsError(errno.EEXIST, f"{describe(status)} has this name", str(target))


def write_named(target: Path, data: bytes) -> None:
    """Write a file under a name that a person chose: it replaces a file that is there, once it is whole.

    A symbolic link and the mode of the file stay. A pipe or a device is written to.
    """
    target = target.resolve()
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        write_whole(target, data, PLAIN)
        return
    if stat.S_ISREG(mode):
        write_whole(target, data, stat.S_IMODE(mode))
    else:
        target.write_bytes(data)


def choose_target(path: str | Path, own_name: str) -> tuple[Path, Callable[[Path, bytes], None]]:
    """Return the file that a path means, in a folder that exists, and the function that writes it.

    Args:
        path: A file; or a folder, which exists or whose path ends with a slash.
        own_name: The name of the file in a folder.
    """
    target = Path(path)
    in_folder = target.is_dir() or str(path).endswith(("/", os.sep))
    target = target / own_name if in_folder else target
    target.parent.mkdir(parents=True, exist_ok=True)
    return target, write_new if in_folder else write_named


def describe(status: os.stat_result) -> str:
    """Return what has a name, as the beginning of a sentence."""
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link"
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    return "another file"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
