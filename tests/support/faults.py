"""What can break under a store: its disk, its folder, its ledger, its clock, its process. For any store on a disk."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import run_program

# Disks


@contextlib.contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a file system of a size such as `"512k"`; skip the test where that is not allowed."""
    folder.mkdir()
    with _mounted(["-t", "tmpfs", "-o", f"size={size}", "tmpfs"], folder):
        yield folder


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder one that nobody can write, not even root; skip the test where that is not allowed."""
    with _mounted(["--bind", str(folder)], folder):
        subprocess.run([_find("mount"), "-o", "remount,bind,ro", str(folder)], check=True, capture_output=True)
        yield


@contextlib.contextmanager
def _mounted(what: list[str], folder: Path) -> Iterator[None]:
    if os.getuid() != 0:
        pytest.skip("only root mounts file systems")
    done = subprocess.run([_find("mount"), *what, str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this machine does not allow mounts")
    try:
        yield
    finally:
        subprocess.run([_find("umount"), "--lazy", str(folder)], check=True, capture_output=True)


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"this machine has no {program}")
    return path


# Ledgers


@contextlib.contextmanager
def locked_ledger(folder: Path) -> Iterator[None]:
    """Hold the ledger as a backup program does: nobody else can write it."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def change_ledger(folder: Path, statement: str, *values: object) -> int:
    """Change rows of a ledger behind its back; return how many."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None)) as connection:
        return connection.execute(statement, values).rowcount


TABLES = ("operations", "images", "names", "makers", "spending", "totals", "uploads", "conversations", "store")
VALUES = (
    None,
    "",
    "x",
    0,
    -1,
    1,
    2**62,
    -(2**62),
    1.5,
    b"\xff\x00",
    "{}",
    "[]",
    "null",
    "[" * 5000,
    "../../x",
    "9" * 50,
)


def damage_a_value(folder: Path, chance: random.Random) -> str:
    """Replace a value of a random row by another one, or by one of another row; say what was done."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None)) as connection:
        tables = [table for table in TABLES if connection.execute(f"SELECT 1 FROM {table}").fetchone()]  # noqa: S608
        table = chance.choice(tables)
        column = chance.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
        rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()  # noqa: S608
        rowid, value = chance.choice(rows)
        new = chance.choice([*VALUES, chance.choice(rows)[1], _change_text(value, chance)])
        with contextlib.suppress(sqlite3.IntegrityError):  # a row that can't be is no damage
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rowid))  # noqa: S608
        return f"{table}.{column} of row {rowid}: {value!r:.60} -> {new!r:.60}"


def _change_text(value: object, chance: random.Random) -> object:
    if not isinstance(value, str) or not value:
        return value
    index = chance.randrange(len(value))
    return value[:index] + chance.choice(["", "x", "0", "}", '"']) + value[index + 1 :]


def damage_bytes(path: Path, chance: random.Random) -> str:
    """Flip bits, blank a block, or cut a file; say what was done."""
    data = bytearray(path.read_bytes())
    if not data:
        return f"{path.name} is empty"
    kind = chance.choice(["bit", "bits", "zeros", "noise", "cut", "block"])
    start = chance.randrange(len(data))
    if kind in {"bit", "bits"}:
        for _ in range(1 if kind == "bit" else 20):
            index = chance.randrange(len(data))
            data[index] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[start:]
    elif kind == "block":
        start -= start % 4096
        data[start : start + 4096] = data[: len(data[start : start + 4096])]
    else:
        length = chance.choice([4, 100, 4096])
        new = bytes(length) if kind == "zeros" else chance.randbytes(length)
        data[start : start + length] = new[: len(data) - start]
    path.write_bytes(data)
    return f"{kind} at {start} of {path.name}"


# Clocks


class Clock:
    """The wall clock, which a test sets forward and back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset, real = 0.0, time.time
        monkeypatch.setattr(time, "time", lambda: real() + self.offset)

    def move(self, seconds: float) -> None:
        self.offset += seconds


# Processes

_KILLED = """
import os, signal, sys
from langchain_wan import ImageRequest, WanStore, WanClient
from langchain_wan._call.drivers import Driver

url, key, folder, at, operation = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
real, done = Driver._perform, 0

def perform(self, step):
    global done
    if done == at:
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1
    return real(self, step)

Driver._perform = perform
made = WanClient(base_url=url, api_key=key, store=WanStore(folder))
made.generate(ImageRequest(prompt="a fox", n=2, operation_id=operation))
"""


def is_killed_at(step: int, url: str, key: str, location: object, operation: str = "mine") -> bool:
    """Make an image in a process that kills itself before it carries out a step; say whether it came that far."""
    done = run_program(_KILLED, url, key, location, step, operation)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode != 0
