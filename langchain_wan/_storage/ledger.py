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
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_wan._storage.migrations import UNCLEAR
from langchain_wan._storage.operations import OPEN_STATES, Claim, ClaimResult, Limit, Operation, State
from langchain_wan._storage.owners import find_owner
from langchain_wan._storage.spending import _fits, _spent
from langchain_wan._storage.sqlite import Database

if TYPE_CHECKING:
    from pathlib import Path


_ROW = "service, id, scope, fingerprint, turn, state, owner, max_nano, cost_nano, created_at, request, error, result"


class Ledger:
    """The operations and named budgets of a database; `owners` is a folder of locks, None for memory."""

    def __init__(self, database: Database, owners: Path | None) -> None:
        self._database = database
        self._owner = find_owner(owners)

    def runs(self, operation: Operation) -> bool:
        """Say whether somebody is carrying out an operation: a call of this process, or another living process."""
        if operation.state not in {"started", "paid"}:
            return False
        return self._owner.is_running_by(operation.owner, (operation.service, operation.id))

    def stop(self, service: str, operation_id: str) -> None:
        """Note that this process does not carry out an operation any more."""
        self._owner.running.discard((service, operation_id))

    def claim(self, claim: Claim) -> ClaimResult:
        """Take an operation and hold its money, in one transaction; or say who has it."""
        with self._database.transaction() as connection:
            existing = _operation(connection, claim.service, claim.id)
            if existing is not None and existing.state != "refused":
                return ClaimResult("taken", existing)
            equal = None if claim.named_by_caller else self._unclear_equal(connection, claim)
            if equal is not None:
                return ClaimResult("equal", equal)
            if claim.limit is not None and not _fits(connection, claim, claim.limit):
                return ClaimResult("over_budget")
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
        return ClaimResult("claimed")

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

    def acquire_for_resume(self, service: str, operation_id: str) -> bool:
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

    def mark_resumable(self, service: str, operation_id: str) -> None:
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
        if states and set(states) <= OPEN_STATES:
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


def _from_row(row: Sequence[Any]) -> Operation:
    columns: dict[str, Any] = dict(zip(_ROW.split(", "), row, strict=True))
    for name in ("request", "error", "result"):
        columns[name] = None if columns[name] is None else json.loads(columns[name])
    return Operation(**columns)


def _json_or_none(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))
