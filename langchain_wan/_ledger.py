"""Who paid for what: the operations, images, names and named budgets of a store, in SQLite (a file, or memory).

An operation is one logical paid call. Its states:

```
started --> paid --> done                  every image is stored
   |          '----> partial               paid, images missing: `resume` fetches them
   |--> refused                            certainly no work: the id is free again
   '--> uncertain --> charged | refused    by `resolve`
```

A claim and its budget hold are written in one transaction before the request is sent.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langchain_wan._owners import Owner
from langchain_wan.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
BUSY_TIMEOUT = 10.0  # seconds to wait for another process that writes
NANO = 10**9  # money is counted in whole billionths of a dollar, so that sums in SQL are exact
State = Literal["started", "paid", "done", "partial", "refused", "uncertain", "charged"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, facts TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS names (
    scope TEXT NOT NULL, name TEXT NOT NULL, image_id TEXT NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (scope, name));
CREATE INDEX IF NOT EXISTS names_by_image ON names (image_id);
CREATE TABLE IF NOT EXISTS operations (
    service TEXT NOT NULL, id TEXT NOT NULL, scope TEXT NOT NULL, fingerprint TEXT NOT NULL, turn TEXT NOT NULL,
    state TEXT NOT NULL, owner TEXT NOT NULL, request TEXT NOT NULL, max_nano INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT, created_at REAL NOT NULL,
    PRIMARY KEY (service, id));
CREATE INDEX IF NOT EXISTS operations_unclear ON operations (service, scope, fingerprint)
    WHERE state IN ('uncertain', 'partial', 'paid', 'started');
CREATE INDEX IF NOT EXISTS operations_by_age ON operations (created_at);
CREATE TABLE IF NOT EXISTS spending (
    service TEXT NOT NULL, budget TEXT NOT NULL, operation TEXT NOT NULL, held INTEGER NOT NULL,
    nano INTEGER NOT NULL, images INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (service, operation));
CREATE INDEX IF NOT EXISTS spending_by_budget ON spending (service, budget, created_at, held, nano, images);
"""


@dataclass(frozen=True)
class Limit:
    """A named budget as the ledger checks it: None means no limit of that kind; `window` in seconds."""

    name: str
    max_nano: int | None = None
    max_images: int | None = None
    window: float | None = None


@dataclass(frozen=True)
class Claim:
    """What is written before a request is sent.

    Attributes:
        service: Which service answers; the sandbox never answers for the real one.
        fingerprint: Equal for equal requests.
        turn: Which message of a person the call answers; empty outside a conversation.
        named_by_caller: The id was chosen by the caller, so an equal request under another id may go ahead.
        request: What `history` and `resume` show: model, prompt, n, parents, metadata.
    """

    service: str
    id: str
    scope: str
    fingerprint: str
    max_nano: int
    request: Mapping[str, Any]
    turn: str = ""
    named_by_caller: bool = False
    limit: Limit | None = None


@dataclass(frozen=True)
class Operation:
    """One row of the ledger; `error` and `result` are JSON values, `owner` the process that began it."""

    service: str
    id: str
    scope: str
    fingerprint: str
    turn: str
    state: State
    owner: str
    max_nano: int
    cost_nano: int
    created_at: float
    request: dict[str, Any] = field(repr=False)
    error: dict[str, Any] | None = field(repr=False, default=None)
    result: dict[str, Any] | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Standing:
    """How a claim went: `"claimed"`, `"over_budget"`, or `"taken"` by `operation`, or by an equal request's."""

    kind: Literal["claimed", "over_budget", "taken", "equal"]
    operation: Operation | None = None


_default: list[Callable[[], Ledger]] = []


def register_default_ledger(ledger: Callable[[], Ledger]) -> None:
    """Set where a named budget is read that no tool has used yet. `store.py` calls it."""
    _default[:] = [ledger]


def default_counter() -> Callable[[Limit], tuple[int, int, int]]:
    """Return how the default ledger counts; where none is registered, nothing was spent."""
    return _default[0]().spent if _default else lambda _: (0, 0, 0)


_ROW = "service, id, scope, fingerprint, turn, state, owner, max_nano, cost_nano, created_at, request, error, result"

# Every statement of a memory ledger runs under this lock, and a fork waits for it: the child gets a whole database.
_MEMORY_LOCK = threading.RLock()
os.register_at_fork(
    before=_MEMORY_LOCK.acquire, after_in_parent=_MEMORY_LOCK.release, after_in_child=_MEMORY_LOCK.release
)


class Ledger:
    """One SQLite database, opened when it is first used, again in each process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock: Any = _MEMORY_LOCK if path is None else threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._left_to_parent: list[sqlite3.Connection] = []  # closing them here would drop the parent's locks
        self._process = os.getpid()
        self._owner = Owner(None if path is None else path.parent / "owners")

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
            except (sqlite3.Error, OSError) as error:
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
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA user_version={VERSION}")
        self._connection = connection
        return connection

    def is_alive(self, owner: str) -> bool:
        """Say whether the process that began an operation may still be carrying it out."""
        return self._owner.is_alive(owner)

    def claim(self, claim: Claim) -> Standing:
        """Take an operation and hold its money, in one transaction; or say who has it."""
        with self.transaction() as connection:
            existing = _operation(connection, claim.service, claim.id)
            if existing is not None and existing.state != "refused":
                return Standing("taken", existing)
            equal = None if claim.named_by_caller else self._unclear_equal(connection, claim)
            if equal is not None:
                return Standing("equal", equal)
            if claim.limit is not None and not _fits(connection, claim, claim.limit):
                return Standing("over_budget")
            now = time.time()
            connection.execute(
                f"INSERT OR REPLACE INTO operations ({_ROW}) VALUES (?,?,?,?,?,'started',?,?,0,?,?,NULL,NULL)",  # noqa: S608  no input
                (
                    *(claim.service, claim.id, claim.scope, claim.fingerprint, claim.turn),
                    *(self._owner.name, claim.max_nano, now, json.dumps(dict(claim.request))),
                ),
            )
            if claim.limit is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO spending VALUES (?,?,?,1,?,?,?)",
                    (claim.service, claim.limit.name, claim.id, claim.max_nano, claim.request["n"], now),
                )
        return Standing("claimed")

    def _unclear_equal(self, connection: sqlite3.Connection, claim: Claim) -> Operation | None:
        # A newer message of a person (another turn) lifts the guard: somebody asked again. Equal calls that a
        # living process is carrying out do not count: two pictures may be wanted at once.
        query = (
            f"SELECT {_ROW} FROM operations WHERE service = ? AND scope = ? AND fingerprint = ? AND turn = ?"  # noqa: S608  no input
            " AND state IN ('uncertain', 'partial', 'paid', 'started') ORDER BY created_at DESC"
        )
        rows = connection.execute(query, (claim.service, claim.scope, claim.fingerprint, claim.turn))
        found = (_from_row(row) for row in rows.fetchall())
        return next(
            (one for one in found if one.state in {"uncertain", "partial"} or not self.is_alive(one.owner)), None
        )

    def move(
        self,
        service: str,
        operation_id: str,
        state: State,
        *,
        cost_nano: int | None = None,
        images: int | None = None,
        error: Mapping[str, Any] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a new state; a cost settles the named budget's hold, and a refusal releases it."""
        with self.transaction() as connection:
            where = (service, operation_id)
            connection.execute(
                "UPDATE operations SET state = ?, cost_nano = coalesce(?, cost_nano), error = coalesce(?, error),"
                " result = coalesce(?, result) WHERE service = ? AND id = ?",
                (state, cost_nano, _json_or_none(error), _json_or_none(result), *where),
            )
            if state == "refused":
                connection.execute("DELETE FROM spending WHERE service = ? AND operation = ?", where)
            elif cost_nano is not None:
                connection.execute(
                    "UPDATE spending SET held = 0, nano = ?, images = ? WHERE service = ? AND operation = ?",
                    (cost_nano, images, *where),
                )

    def operation(self, service: str, operation_id: str) -> Operation | None:
        """Return an operation, or None if there is none."""
        with self.transaction() as connection:
            return _operation(connection, service, operation_id)

    def operations(
        self,
        *,
        states: Sequence[State] = (),
        scope: str | None = None,
        operation_id: str | None = None,
        limit: int = -1,
    ) -> list[Operation]:
        """Return operations, the newest first; None means any, -1 no limit."""
        clauses = ["1"]
        values: list[Any] = []
        if states:
            clauses.append(f"state IN ({','.join('?' * len(states))})")
            values += states
        for column, value in (("scope", scope), ("id", operation_id)):
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT {_ROW} FROM operations WHERE {' AND '.join(clauses)} ORDER BY created_at DESC LIMIT ?"  # noqa: S608  fixed words
        with self.transaction() as connection:
            return [_from_row(row) for row in connection.execute(query, (*values, limit))]

    def spent(self, limit: Limit, service: str | None = None) -> tuple[int, int, int]:
        """Return billionths of a dollar spent and held under a named budget, and images of both.

        Args:
            service: None means every service.
        """
        with self.transaction() as connection:
            return _spent(connection, service, limit)

    def add_image(self, image_id: str, facts: Mapping[str, Any], scope: str) -> None:
        """Record an image, and that a scope knows it by its id; a newer URL replaces the older one."""
        now = time.time()
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?,?,?) ON CONFLICT (id) DO UPDATE SET facts = excluded.facts"
                " WHERE json_extract(excluded.facts, '$.url') IS NOT NULL",
                (image_id, json.dumps(dict(facts)), now),
            )
            connection.execute("INSERT OR IGNORE INTO names VALUES (?,?,?,?)", (scope, image_id, image_id, now))

    def image(self, image_id: str, scope: str) -> dict[str, Any] | None:
        """Return what is recorded of an image that a scope knows, or None; the scope `""` knows every image."""
        query = (
            "SELECT facts FROM images WHERE id = ?"
            " AND (? = '' OR EXISTS (SELECT 1 FROM names WHERE scope = ? AND name = id))"
        )
        with self.transaction() as connection:
            row = connection.execute(query, (image_id, scope, scope)).fetchone()
        return None if row is None else json.loads(row[0])

    def image_at(self, url: str, scope: str) -> dict[str, Any] | None:
        """Return the image that a URL showed, its query ignored, or None."""
        query = (
            "SELECT facts FROM images JOIN names ON names.image_id = images.id WHERE (? = '' OR scope = ?)"
            " AND substr(json_extract(facts, '$.url') || '?', 1, length(?) + 1) = ? || '?' LIMIT 1"
        )
        bare = url.partition("?")[0].partition("#")[0]
        with self.transaction() as connection:
            row = connection.execute(query, (scope, scope, bare, bare)).fetchone()
        return None if row is None else json.loads(row[0])

    def forget_image(self, image_id: str, scope: str) -> bool:
        """Forget that a scope knows an image, `""` meaning every scope; say whether nobody knows it any more."""
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM names WHERE image_id = ? AND (? = '' OR scope = ?)", (image_id, scope, scope)
            )
            known = connection.execute("SELECT 1 FROM names WHERE image_id = ?", (image_id,)).fetchone()
            if known is None:
                connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        return known is None

    def images_before(self, moment: float, scope: str) -> list[str]:
        """Return the ids of the images that a scope has known since before a moment."""
        query = "SELECT DISTINCT image_id FROM names WHERE created_at < ? AND (? = '' OR scope = ?)"
        with self.transaction() as connection:
            return [row[0] for row in connection.execute(query, (moment, scope, scope))]

    def names(self, scope: str, limit: int = 20) -> list[str]:
        """Return the names that a scope knows, the newest last."""
        query = "SELECT name FROM names WHERE scope = ? ORDER BY created_at DESC, rowid DESC LIMIT ?"
        with self.transaction() as connection:
            return [row[0] for row in connection.execute(query, (scope, limit))][::-1]


def _operation(connection: sqlite3.Connection, service: str, operation_id: str) -> Operation | None:
    query = f"SELECT {_ROW} FROM operations WHERE service = ? AND id = ?"  # noqa: S608  no input
    row = connection.execute(query, (service, operation_id)).fetchone()
    return None if row is None else _from_row(row)


def _fits(connection: sqlite3.Connection, claim: Claim, limit: Limit) -> bool:
    spent, held, images = _spent(connection, claim.service, limit)
    money_fits = limit.max_nano is None or spent + held + claim.max_nano <= limit.max_nano
    return money_fits and (limit.max_images is None or images + claim.request["n"] <= limit.max_images)


def _spent(connection: sqlite3.Connection, service: str | None, limit: Limit) -> tuple[int, int, int]:
    since = 0.0 if limit.window is None else time.time() - limit.window
    row = connection.execute(
        "SELECT coalesce(sum(nano * (1 - held)), 0), coalesce(sum(nano * held), 0), coalesce(sum(images), 0)"
        " FROM spending WHERE (service = ? OR ?) AND budget = ? AND created_at >= ?",
        (service, service is None, limit.name, since),
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def _from_row(row: Sequence[Any]) -> Operation:
    columns: dict[str, Any] = dict(zip(_ROW.split(", "), row, strict=True))
    for name in ("request", "error", "result"):
        columns[name] = None if columns[name] is None else json.loads(columns[name])
    return Operation(**columns)


def _json_or_none(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))
