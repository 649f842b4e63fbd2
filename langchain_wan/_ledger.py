"""Who paid for what: the operations and named budgets of a store.

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
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langchain_wan._database import UNCLEAR, Database
from langchain_wan._owners import owner_of

if TYPE_CHECKING:
    from pathlib import Path

NANO = 10**9  # money is counted in whole billionths of a dollar, so that sums in SQL are exact
UNCLEAR_STATES = frozenset({"started", "paid", "partial", "uncertain"})
State = Literal["started", "paid", "done", "partial", "refused", "uncertain", "charged"]


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


class Ledger:
    """The operations and named budgets of a database; `owners` is a folder of locks, None for memory."""

    def __init__(self, database: Database, owners: Path | None) -> None:
        self._database = database
        self._owner = owner_of(owners)

    def runs(self, operation: Operation) -> bool:
        """Say whether somebody is carrying out an operation: a call of this process, or another living process."""
        if operation.state not in {"started", "paid"}:
            return False
        return self._owner.carries_out(operation.owner, (operation.service, operation.id))

    def stop(self, service: str, operation_id: str) -> None:
        """Note that this process does not carry out an operation any more."""
        self._owner.running.discard((service, operation_id))

    def claim(self, claim: Claim) -> Standing:
        """Take an operation and hold its money, in one transaction; or say who has it."""
        with self._database.transaction() as connection:
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
                # Not REPLACE: that would not tell the totals of the row that goes.
                connection.execute(
                    "DELETE FROM spending WHERE service = ? AND operation = ?", (claim.service, claim.id)
                )
                connection.execute(
                    "INSERT INTO spending VALUES (?,?,?,1,?,?,?)",
                    (claim.service, claim.limit.name, claim.id, claim.max_nano, claim.request["n"], now),
                )
            self._owner.running.add((claim.service, claim.id))
        return Standing("claimed")

    def _unclear_equal(self, connection: sqlite3.Connection, claim: Claim) -> Operation | None:
        # A newer message of a person (another turn) lifts the guard: somebody asked again. Where nobody can tell,
        # nobody did. Equal calls that a living process is carrying out do not count: two pictures may be wanted.
        query = (
            f"SELECT {_ROW} FROM operations WHERE service = ? AND scope = ? AND fingerprint = ?"  # noqa: S608  no input
            f" AND (turn = ? OR ? = '') AND {UNCLEAR} ORDER BY created_at DESC"
        )
        rows = connection.execute(query, (claim.service, claim.scope, claim.fingerprint, claim.turn, claim.turn))
        found = (_from_row(row) for row in rows.fetchall())
        return next((one for one in found if not self.runs(one)), None)

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
        with self._database.transaction() as connection:
            where = (service, operation_id)
            connection.execute(
                "UPDATE operations SET state = ?, cost_nano = coalesce(?, cost_nano), error = coalesce(?, error),"
                " result = coalesce(?, result) WHERE service = ? AND id = ?",
                (state, cost_nano, _json_or_none(error), _json_or_none(result), *where),
            )
            for image in () if result is None else result["images"]:
                connection.execute("INSERT OR IGNORE INTO makers VALUES (?,?,?)", (image["id"], *where))
            if state == "refused":
                connection.execute("DELETE FROM spending WHERE service = ? AND operation = ?", where)
            elif cost_nano is not None:
                connection.execute(
                    "UPDATE spending SET held = 0, nano = ?, images = coalesce(?, images)"
                    " WHERE service = ? AND operation = ?",
                    (cost_nano, images, *where),
                )

    def end(
        self, service: str, operation_id: str, state: State, error: Mapping[str, Any], *, owner: str | None = None
    ) -> None:
        """Write down that an operation ended without an answer, unless it ended otherwise meanwhile.

        Args:
            owner: Only if it is still this owner's; None means this process's.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE operations SET state = ?, error = ? WHERE service = ? AND id = ? AND owner = ?"
                " AND state IN ('started', 'paid')",
                (state, json.dumps(dict(error)), service, operation_id, owner or self._owner.name),
            ).rowcount
            if changed and state == "refused":
                where = "service = ? AND operation = ?"
                connection.execute(f"DELETE FROM spending WHERE {where}", (service, operation_id))  # noqa: S608  fixed words

    def take_to_resume(self, service: str, operation_id: str) -> bool:
        """Become the one who fetches the images of a paid operation; False if somebody is at it, or it is done."""
        with self._database.transaction() as connection:
            found = _operation(connection, service, operation_id)
            if found is None or found.state not in {"paid", "partial"} or self.runs(found):
                return False
            connection.execute(
                "UPDATE operations SET state = 'paid', owner = ? WHERE service = ? AND id = ?",
                (self._owner.name, service, operation_id),
            )
            self._owner.running.add((service, operation_id))
        return True

    def leave_to_resume(self, service: str, operation_id: str) -> None:
        """Note that nobody is fetching the images of a paid operation any more."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE operations SET state = 'partial' WHERE service = ? AND id = ? AND state = 'paid'",
                (service, operation_id),
            )

    def operation(self, service: str, operation_id: str) -> Operation | None:
        """Return an operation, or None if there is none."""
        with self._database.transaction() as connection:
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
        if states and set(states) <= UNCLEAR_STATES:
            clauses.append(UNCLEAR)
        if states:
            clauses.append(f"state IN ({','.join('?' * len(states))})")
            values += states
        for column, value in (("scope", scope), ("id", operation_id)):
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        table = "operations INDEXED BY operations_unclear" if UNCLEAR in clauses else "operations"
        query = f"SELECT {_ROW} FROM {table} WHERE {' AND '.join(clauses)} ORDER BY created_at DESC LIMIT ?"  # noqa: S608  fixed words
        with self._database.transaction() as connection:
            return [_from_row(row) for row in connection.execute(query, (*values, limit))]

    def maker(self, image_id: str, scope: str) -> Operation | None:
        """Return the first operation of a scope that made an image, or None; `""` means every scope."""
        columns = ", ".join(f"operations.{name}" for name in _ROW.split(", "))
        query = (
            f"SELECT {columns} FROM makers JOIN operations"  # noqa: S608  fixed words
            " ON operations.service = makers.service AND operations.id = makers.operation"
            " WHERE makers.image_id = ? AND (? = '' OR scope = ?) ORDER BY created_at LIMIT 1"
        )
        with self._database.transaction() as connection:
            row = connection.execute(query, (image_id, scope, scope)).fetchone()
        return None if row is None else _from_row(row)

    def spent(self, limit: Limit, service: str | None = None) -> tuple[int, int, int]:
        """Return billionths of a dollar spent and held under a named budget, and images of both.

        Args:
            service: None means every service.
        """
        with self._database.transaction() as connection:
            return _spent(connection, service, limit)


def _operation(connection: sqlite3.Connection, service: str, operation_id: str) -> Operation | None:
    query = f"SELECT {_ROW} FROM operations WHERE service = ? AND id = ?"  # noqa: S608  no input
    row = connection.execute(query, (service, operation_id)).fetchone()
    return None if row is None else _from_row(row)


def _fits(connection: sqlite3.Connection, claim: Claim, limit: Limit) -> bool:
    spent, held, images = _spent(connection, claim.service, limit)
    money_fits = limit.max_nano is None or spent + held + claim.max_nano <= limit.max_nano
    return money_fits and (limit.max_images is None or images + claim.request["n"] <= limit.max_images)


def _spent(connection: sqlite3.Connection, service: str | None, limit: Limit) -> tuple[int, int, int]:
    where = "budget = ?" if service is None else "budget = ? AND service = ?"
    values: list[Any] = [limit.name] if service is None else [limit.name, service]
    columns, table = ("nano", "held_nano", "images"), "totals"
    if limit.window is not None:
        columns, table = ("nano * (1 - held)", "nano * held", "images"), "spending"
        where, values = f"{where} AND created_at >= ?", [*values, time.time() - limit.window]
    sums = ", ".join(f"coalesce(sum({column}), 0)" for column in columns)
    row = connection.execute(f"SELECT {sums} FROM {table} WHERE {where}", values).fetchone()  # noqa: S608  fixed words
    return int(row[0]), int(row[1]), int(row[2])


def _from_row(row: Sequence[Any]) -> Operation:
    columns: dict[str, Any] = dict(zip(_ROW.split(", "), row, strict=True))
    for name in ("request", "error", "result"):
        columns[name] = None if columns[name] is None else json.loads(columns[name])
    return Operation(**columns)


def _json_or_none(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))
