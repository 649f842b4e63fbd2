"""Who paid for what: the operations and named budgets of a store.

An operation is one paid call; `states.py` says how it goes from one state to the next. A claim and the reservation in
its budget are written in one transaction before the request is sent.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_wan._storage import spending
from langchain_wan._storage.operations import Claim, ClaimResult, Limit, Operation
from langchain_wan._storage.owners import Owner, find_owner
from langchain_wan._storage.sqlite import Database
from langchain_wan._storage.states import (
    OPEN,
    OPEN_STATES,
    RESUMABLE_STATES,
    RUNNING_STATES,
    UNRESOLVED_STATES,
    State,
    sql_condition,
)
from langchain_wan.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

_ROW = "service, id, scope, fingerprint, turn, state, owner, max_nano, cost_nano, created_at, request, error, result"
_WHERE = "service = ? AND id = ?"


class Ledger:
    """The operations and named budgets of a database; `owners` is a folder of locks, None for memory."""

    def __init__(self, database: Database, owners: Path | None) -> None:
        self._database, self._owners = database, owners

    @cached_property
    def _owner(self) -> Owner:  # looked up when it is needed: that asks the file system
        return find_owner(self._owners)

    def is_same(self, other: Ledger) -> bool:
        """Say whether another object is the same ledger: two stores may be opened on one folder."""
        return self is other or (self._database.path is not None and self._database.path == other._database.path)

    def is_running(self, operation: Operation) -> bool:
        """Say whether somebody is carrying out an operation: a call of this process, or another living process."""
        if operation.state not in RUNNING_STATES:
            return False
        return self._owner.is_running(operation.owner, (operation.service, operation.id))

    def mark_idle(self, service: str, operation_id: str) -> None:
        """Note that this process does not carry out an operation any more."""
        self._owner.running.discard((service, operation_id))

    def claim(self, claim: Claim) -> ClaimResult:
        """Take an operation and reserve its money, in one transaction; or say who has it."""
        with self._database.transaction() as connection:
            existing = _read_operation(connection, claim.service, claim.id)
            if existing is not None and existing.state != "refused":
                if existing.state != "claimed" or self.is_running(existing):
                    return ClaimResult("taken", existing)
                _release(connection, existing)  # its process died before it sent anything
            identical = None if claim.named_by_caller else self._find_identical(connection, claim)
            if identical is not None:
                return ClaimResult("identical", identical)
            if claim.limit is not None and not self._fits(connection, claim, claim.limit):
                return ClaimResult("over_budget")
            now = time.time()
            connection.execute(
                f"INSERT OR REPLACE INTO operations ({_ROW}) VALUES (?,?,?,?,?,'claimed',?,?,0,?,?,NULL,NULL)",  # noqa: S608  no input
                (
                    *(claim.service, claim.id, claim.scope, claim.fingerprint, claim.turn),
                    *(self._owner.name, claim.max_nano, now, json.dumps(dict(claim.request))),
                ),
            )
            if claim.limit is not None:
                spending.release(
                    connection, claim.service, claim.id
                )  # an earlier, refused try may have one under another budget
                spending.reserve(connection, claim, claim.limit, now)
            self._owner.running.add((claim.service, claim.id))
        return ClaimResult("claimed")

    def _find_identical(self, connection: sqlite3.Connection, claim: Claim) -> Operation | None:
        # A newer human message (another turn) lifts the guard: somebody asked again. Where nobody can tell, nobody
        # did. Identical calls that a living process is carrying out do not count: two images may be wanted.
        query = (
            f"SELECT {_ROW} FROM operations WHERE service = ? AND scope = ? AND fingerprint = ?"  # noqa: S608  no input
            f" AND (turn = ? OR ? = '') AND {OPEN} AND {sql_condition(UNRESOLVED_STATES)} ORDER BY created_at DESC"
        )
        rows = connection.execute(query, (claim.service, claim.scope, claim.fingerprint, claim.turn, claim.turn))
        operations = (_from_row(row) for row in rows.fetchall())
        ended = (operation for operation in operations if not self.is_running(operation))
        return next((operation for operation in ended if claim.is_repeat_of(operation)), None)

    def _fits(self, connection: sqlite3.Connection, claim: Claim, limit: Limit) -> bool:
        if spending.fits(connection, claim, limit):
            return True
        # What processes reserved that died before they sent anything is free again.
        columns = ", ".join(f"operations.{name}" for name in _ROW.split(", "))
        query = (
            f"SELECT {columns} FROM spending JOIN operations"  # noqa: S608  fixed words
            " ON operations.service = spending.service AND operations.id = spending.operation"
            " WHERE spending.service = ? AND spending.budget = ? AND held = 1 AND state = 'claimed'"
        )
        for row in connection.execute(query, (claim.service, limit.name)).fetchall():
            operation = _from_row(row)
            if not self.is_running(operation):
                _release(connection, operation)
        return spending.fits(connection, claim, limit)

    def begin_sending(self, service: str, operation_id: str) -> None:
        """Write down, right before the request is sent, that it may be on its way.

        Raises:
            StoreError: It could not be written, or another process has taken the operation: nothing may be sent.
        """
        self._switch(service, operation_id, "claimed", "sending")

    def cancel_sending(self, service: str, operation_id: str) -> None:
        """Write down that the request was certainly not processed, and may be sent again."""
        self._switch(service, operation_id, "sending", "claimed")

    def _switch(self, service: str, operation_id: str, expected: State, state: State) -> None:
        with self._database.transaction() as connection:
            changed = connection.execute(
                f"UPDATE operations SET state = ? WHERE {_WHERE} AND owner = ? AND state IN (?, ?)",  # noqa: S608  fixed words
                (state, service, operation_id, self._owner.name, expected, state),
            ).rowcount
        if not changed:
            raise StoreError(
                f"Operation {operation_id} is not this process's any more: another one has taken it.",
                next_step="Call again: it returns the result of the other process.",
                operation_id=operation_id,
            )

    def transition(
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
        """Write a new state; a cost settles the reservation in a named budget, and a refusal releases it."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE operations SET state = ?, cost_nano = coalesce(?, cost_nano), error = coalesce(?, error),"  # noqa: S608  fixed words
                f" result = coalesce(?, result) WHERE {_WHERE}",
                (state, cost_nano, _json_or_none(error), _json_or_none(result), service, operation_id),
            )
            for image in () if result is None else result["images"]:
                connection.execute("INSERT OR IGNORE INTO makers VALUES (?,?,?)", (image["id"], service, operation_id))
            if state == "refused":
                spending.release(connection, service, operation_id)
            elif cost_nano is not None:
                spending.settle(connection, service, operation_id, cost_nano, images)

    def fail(
        self, service: str, operation_id: str, state: State, error: Mapping[str, Any], *, owner: str | None = None
    ) -> None:
        """Write down that an operation ended without an answer, unless it ended otherwise meanwhile.

        Args:
            owner: Only if it is still this owner's; None means this process's.
        """
        with self._database.transaction() as connection:
            changed = connection.execute(
                f"UPDATE operations SET state = ?, error = ? WHERE {_WHERE} AND owner = ?"  # noqa: S608  fixed words
                f" AND {sql_condition(RUNNING_STATES)}",
                (state, json.dumps(dict(error)), service, operation_id, owner or self._owner.name),
            ).rowcount
            if changed and state == "refused":
                spending.release(connection, service, operation_id)

    def acquire_for_resume(
        self, service: str, operation_id: str, *, states: Collection[State] = RESUMABLE_STATES
    ) -> bool:
        """Become the one who fetches the images of a paid operation; False if somebody is at it, or it is done.

        Args:
            states: Those in which it may be taken. One whose outcome was unknown may be, if its answer can be read.
        """
        with self._database.transaction() as connection:
            operation = _read_operation(connection, service, operation_id)
            if operation is None or operation.state not in states or self.is_running(operation):
                return False
            connection.execute(
                f"UPDATE operations SET state = 'paid', owner = ? WHERE {_WHERE}",  # noqa: S608  fixed words
                (self._owner.name, service, operation_id),
            )
            self._owner.running.add((service, operation_id))
        return True

    def mark_resumable(self, service: str, operation_id: str) -> None:
        """Note that nobody is fetching the images of a paid operation any more."""
        with self._database.transaction() as connection:
            connection.execute(
                f"UPDATE operations SET state = 'partial' WHERE {_WHERE} AND state = 'paid'",  # noqa: S608  fixed words
                (service, operation_id),
            )

    def operation(self, service: str, operation_id: str) -> Operation | None:
        """Return an operation, or None if there is none."""
        with self._database.read() as connection:
            return _read_operation(connection, service, operation_id)

    def operations(
        self,
        *,
        states: Collection[State] = (),
        scope: str | None = None,
        operation_id: str | None = None,
        limit: int = -1,
    ) -> list[Operation]:
        """Return operations, the newest first; None means any, -1 no limit."""
        clauses, values, table = ["1"], list[Any](), "operations"
        if states:
            clauses.append(sql_condition(states))
            if OPEN_STATES.issuperset(states):  # of these there are few
                clauses.append(OPEN)
                table = "operations INDEXED BY operations_open"
        for column, value in (("scope", scope), ("id", operation_id)):
            if value is not None:
                clauses.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT {_ROW} FROM {table} WHERE {' AND '.join(clauses)} ORDER BY created_at DESC LIMIT ?"  # noqa: S608  fixed words
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query, (*values, limit))]

    def maker(self, image_id: str, scope: str) -> Operation | None:
        """Return the first operation of a scope that made an image, or None; `""` means every scope."""
        columns = ", ".join(f"operations.{name}" for name in _ROW.split(", "))
        query = (
            f"SELECT {columns} FROM makers JOIN operations"  # noqa: S608  fixed words
            " ON operations.service = makers.service AND operations.id = makers.operation"
            " WHERE makers.image_id = ? AND (? = '' OR scope = ?) ORDER BY created_at LIMIT 1"
        )
        with self._database.read() as connection:
            row = connection.execute(query, (image_id, scope, scope)).fetchone()
        return None if row is None else _from_row(row)

    def read_spending(self, limit: Limit, service: str | None = None) -> tuple[int, int, int]:
        """Return billionths of a dollar spent and reserved under a named budget, and images of both.

        Args:
            service: None means every service.
        """
        with self._database.read() as connection:
            return spending.read_spending(connection, service, limit)


def _read_operation(connection: sqlite3.Connection, service: str, operation_id: str) -> Operation | None:
    row = connection.execute(f"SELECT {_ROW} FROM operations WHERE {_WHERE}", (service, operation_id)).fetchone()  # noqa: S608  no input
    return None if row is None else _from_row(row)


def _release(connection: sqlite3.Connection, operation: Operation) -> None:
    connection.execute(
        f"UPDATE operations SET state = 'refused' WHERE {_WHERE}",  # noqa: S608  fixed words
        (operation.service, operation.id),
    )
    spending.release(connection, operation.service, operation.id)


def _from_row(row: Sequence[Any]) -> Operation:
    columns: dict[str, Any] = dict(zip(_ROW.split(", "), row, strict=True))
    for name in ("request", "error", "result"):
        columns[name] = None if columns[name] is None else json.loads(columns[name])
    return Operation(**columns)


def _json_or_none(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))
