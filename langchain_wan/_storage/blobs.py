"""Bytes under their SHA-256, and raw answers under the name of their operation: on disk, or in memory.

A file appears under its name only when it is whole and on the disk; a temporary file that a crash left is swept.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import threading
import time
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from langchain_wan._concurrency.forks import lock_across_forks
from langchain_wan._storage.whole_files import write_whole
from langchain_wan.errors import StoreError

DIGEST = re.compile(r"[0-9a-f]{64}")
MEMORY_CAP = 256 * 2**20
ORPHAN_AGE = 86_400  # seconds
ROOM_FOR_AN_IMAGE = 64 * 2**20  # bytes: its raw answer in base64 and the image itself, at 4K


# One for all stores in memory: a fork waits for it, so that the child finds no half-done change.
_LOCK = threading.RLock()
lock_across_forks(_LOCK)


class Pinned:
    """Bytes in memory; whoever has this object keeps them alive."""

    __slots__ = ("__weakref__", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __deepcopy__(self, memo: dict[int, Any]) -> Pinned:
        """Return itself: bytes never change."""
        return self


class MemoryBlobs:
    """Bytes for the life of the process: at most `cap` bytes of images, and as many of raw answers.

    Beyond that the oldest are dropped, except images that a caller still uses.
    """

    def __init__(self, cap: int = MEMORY_CAP) -> None:
        self._cap = cap
        self._size = 0
        self._images: OrderedDict[str, Pinned] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[str, Pinned] = weakref.WeakValueDictionary()
        self._raw: OrderedDict[str, bytes] = OrderedDict()
        self._lock = _LOCK
        self._warnings: set[str] = set()

    def ensure_space(self, images: int) -> None:
        """Do nothing: memory has room, since the oldest are dropped."""

    def write(self, sha256: str, data: bytes) -> Any:
        """Keep bytes; the returned object keeps them alive beyond the cap."""
        with self._lock:
            pinned = self._images.get(sha256) or self._alive.get(sha256) or Pinned(data)
            self._alive[sha256] = pinned
            if sha256 not in self._images:
                self._images[sha256] = pinned
                self._size += len(data)
                self._make_room()
        return pinned

    def _make_room(self) -> None:
        while self._size > self._cap and len(self._images) > 1:
            _, oldest = self._images.popitem(last=False)
            self._size -= len(oldest.data)
            self._warn("images")

    def _warn(self, what: str) -> None:
        if what not in self._warnings:
            self._warnings.add(what)
            warnings.warn(
                f"The in-memory image store is full ({self._cap >> 20} MiB): the oldest {what} are dropped now. "
                "Use WanStore(folder) to keep them.",
                UserWarning,
                stacklevel=2,
            )

    def has(self, sha256: str) -> bool:
        """Say whether the bytes are here."""
        return sha256 in self._alive

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes, or None if they are not here."""
        pinned = self._alive.get(sha256)
        return None if pinned is None else pinned.data

    def pin(self, sha256: str) -> Any:
        """Return the object that keeps the bytes alive, or None."""
        return self._alive.get(sha256)

    def delete(self, sha256: str) -> None:
        """Forget the bytes."""
        with self._lock:
            pinned = self._images.pop(sha256, None)
            self._size -= 0 if pinned is None else len(pinned.data)
            self._alive.pop(sha256, None)

    def keep_raw(self, name: str, body: bytes) -> None:
        """Keep a raw answer."""
        with self._lock:
            self._raw[name] = body
            size = sum(map(len, self._raw.values()))
            while size > self._cap and len(self._raw) > 1:
                _, oldest = self._raw.popitem(last=False)
                size -= len(oldest)
                self._warn("raw answers, whose images can't be fetched any more,")

    def raw(self, name: str) -> bytes | None:
        """Return a raw answer, or None if there is none."""
        return self._raw.get(name)

    def drop_raw(self, name: str) -> None:
        """Forget a raw answer."""
        self._raw.pop(name, None)

    def copy_to(self, target: DiskBlobs) -> None:
        """Write all that is here to a folder."""
        with self._lock:
            images, answers = list(self._alive.items()), list(self._raw.items())
        for sha256, pinned in images:
            target.write(sha256, pinned.data)
        for name, body in answers:
            target.keep_raw(name, body)


class DiskBlobs:
    """Bytes in a folder: `blobs/ab/<sha256>` and `raw/<sha256 of the operation's name>`, readable by the owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._swept = False

    def ensure_space(self, images: int) -> None:
        """Check that this many images can be written, before they are paid for.

        Raises:
            StoreError: The folder can't be written, or the disk has too little room.
        """
        with _disk_errors():
            with tempfile.TemporaryFile(dir=self._folder("raw")) as probe:
                probe.write(b"room")
            free = shutil.disk_usage(self._root).free
        if free < images * ROOM_FOR_AN_IMAGE:
            raise StoreError("The image store's disk is full.", next_step="Make room on it.")

    def write(self, sha256: str, data: bytes) -> Any:
        """Write bytes; when this returns they are on the disk. Nothing stays in memory."""
        target = self._blob(sha256)
        with _disk_errors():
            if not _contains(target, data):  # a damaged file is replaced by the right bytes
                self._folder("blobs", target.parent.name)
                write_whole(target, data)
        return None

    def has(self, sha256: str) -> bool:
        """Say whether there is a file for these bytes, without reading it."""
        with _disk_errors():
            return self._blob(sha256).is_file()

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes, or None if they are not here.

        Raises:
            StoreError: The file does not have the digest that it is named by; it was moved aside.
        """
        target = self._blob(sha256)
        with _disk_errors():
            try:
                data = target.read_bytes()
            except FileNotFoundError:
                return None
        if hashlib.sha256(data).hexdigest() != sha256:
            with suppress(OSError):
                target.rename(target.with_suffix(".damaged"))
            raise StoreError("A stored image is damaged; it was moved aside.", next_step="Restore it from a backup.")
        return data

    def pin(self, sha256: str) -> Any:  # noqa: ARG002  the same signature as in memory
        """Return None: the disk keeps the bytes."""
        return None

    def delete(self, sha256: str) -> None:
        """Remove the bytes."""
        with _disk_errors():
            self._blob(sha256).unlink(missing_ok=True)

    def keep_raw(self, name: str, body: bytes) -> None:
        """Write a raw answer; when this returns it is on the disk."""
        with _disk_errors():
            self._sweep()
            self._folder("raw")
            write_whole(self._raw(name), body)

    def raw(self, name: str) -> bytes | None:
        """Return a raw answer, or None if there is none."""
        with _disk_errors():
            try:
                return self._raw(name).read_bytes()
            except FileNotFoundError:
                return None

    def drop_raw(self, name: str) -> None:
        """Remove a raw answer."""
        with _disk_errors():
            self._raw(name).unlink(missing_ok=True)

    def copy_to(self, target: DiskBlobs) -> None:
        """Make another folder's files those of this one. A file of bytes that is there already is not copied again."""
        with _disk_errors():
            for path in (*self._root.glob("blobs/??/*"), *self._root.glob("raw/*")):
                parts = path.relative_to(self._root).parts
                copy = target._root.joinpath(*parts)
                if DIGEST.fullmatch(path.name) and (parts[0] == "raw" or not copy.exists()):
                    target._folder(*parts[:-1])
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        write_whole(copy, path.read_bytes())
            for copy in target._root.glob("raw/*"):
                if not (self._root / "raw" / copy.name).exists():
                    copy.unlink()

    def _folder(self, *parts: str) -> Path:
        folder = self._root
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in parts:  # one after the other: a mode is only that of the last folder made
            folder /= part
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _blob(self, sha256: str) -> Path:
        if DIGEST.fullmatch(sha256) is None:  # it may come from a damaged row, and would name any file
            raise StoreError(f"{sha256[:80]!r} is not the SHA-256 of an image.", next_step="Restore it from a backup.")
        return self._root / "blobs" / sha256[:2] / sha256

    def _raw(self, name: str) -> Path:
        return self._root / "raw" / name_raw(name)

    def _sweep(self) -> None:
        if self._swept:
            return
        self._swept = True
        for folder in (self._root / "raw", *(self._root / "blobs").glob("*")):
            for orphan in folder.glob(".*.part"):
                with suppress(FileNotFoundError):
                    if time.time() - orphan.stat().st_mtime > ORPHAN_AGE:
                        orphan.unlink()


def name_raw(name: str) -> str:
    """Return the name of the file that has the raw answer of an operation."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _contains(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(f"The image store could not be used: {reason}.", next_step="Check its disk.") from error
