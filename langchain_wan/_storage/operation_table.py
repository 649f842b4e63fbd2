"""The table of operations: its statements in SQL, as the ledger needs them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from langchain_wan._storage import spending
from langchain_wan._storage.operations import Claim, Operation
from langchain_wan._storage.rows import COLUMNS, decode, encode
from langchain_wan._storage.scopes import list_readable
from langchain_wan._storage.states import OPEN, OPEN_STATES, UNRESOLVED_STATES, State, sql_condition
from langchain_wan._text.logs import logger
from langchain_wan.errors import StoreError

_ROW = ", ".join(COLUMNS)
_JOINED_ROW = ", ".join(f"operations.{name}" for name in COLUMNS)
_WRITE = (
    f"INSERT INTO operations ({_ROW}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT (service, id) DO UPDATE SET"  # noqa: S608  fixed words
    f" {', '.join(f'{name} = excluded.{name}' for name in COLUMNS)}"
)
_CHANGING = ("state", "owner", "cost_nano", "error", "result", "digest")
_UPDATE = f"UPDATE operations SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE service = ? AND id = ?"  # noqa: S608  fixed words


def read(connection: sqlite3.Connection, service: str, operation_id: str) -> Operation | None:
    """Return an operation, or None if there is none.

    Raises:
        StoreError: Its row is damaged.
    """
    query = f"SELECT {_ROW} FROM operations WHERE service = ? AND id = ?"  # noqa: S608  no input
    row = connection.execute(query, (service, operation_id)).fetchone()
    return None if row is None else decode(row)


def write(connection: sqlite3.Connection, operation: Operation) -> None:
    """Write an operation, whether there is one of its name or not."""
    connection.execute(_WRITE, encode(operation))


def update(connection: sqlite3.Connection, operation: Operation) -> None:
    """Write what can change of an operation once it is claimed; indexes of the rest need not be written again."""
    values = dict(zip(COLUMNS, encode(operation), strict=True))
    connection.execute(_UPDATE, (*(values[name] for name in _CHANGING), operation.service, operation.id))


def release(connection: sqlite3.Connection, operation: Operation) -> None:
    """Give back what was reserved for an operation that sent nothing, and free its name."""
    update(connection, replace(operation, state="refused"))
    spending.release(connection, operation.service, operation.id)


def find_identical(connection: sqlite3.Connection, claim: Claim) -> Iterator[Operation]:
    """Yield the unresolved operations with the request of a claim, the newest first.

    Raises:
        StoreError: One of them is damaged.
    """
    query = (
        f"SELECT {_ROW} FROM operations WHERE service = ? AND scope = ? AND fingerprint = ?"  # noqa: S608  no input
        f" AND (turn = ? OR ? = '') AND {OPEN} AND {sql_condition(UNRESOLVED_STATES)} ORDER BY created_at DESC"
    )
    values = (claim.service, claim.scope, claim.fingerprint, claim.turn, claim.turn)
    return map(decode, connection.execute(query, values).fetchall())


def find_claimed(connection: sqlite3.Connection, service: str, budget: str) -> Iterator[Operation]:
    """Yield the operations that have money reserved under a budget, and had sent nothing yet."""
    query = (
        f"SELECT {_JOINED_ROW} FROM spending JOIN operations"  # noqa: S608  fixed words
        " ON operations.service = spending.service AND operations.id = spending.operation"
        " WHERE spending.service = ? AND spending.budget = ? AND held = 1 AND state = 'claimed'"
    )
    return _decode_all(connection.execute(query, (service, budget)).fetchall())


def find(
    connection: sqlite3.Connection,
    *,
    states: Collection[State],
    scope: str | None,
    operation_id: str | None,
    limit: int,
) -> Iterator[Operation]:
    """Yield operations, the newest first; None or no state means any, -1 no limit."""
    clauses, values, table = ["1"], list[Any](), "operations"
    if states:
        clauses.append(sql_condition(states))
        if OPEN_STATES.issuperset(states):  # of these there are few
            clauses.append(OPEN)
            table = "operations INDEXED BY operations_open"
    if scope is not None:
        clauses.append("scope IN (SELECT value FROM json_each(?))")
        values.append(list_readable(scope))
    if operation_id is not None:
        clauses.append("id = ?")
        values.append(operation_id)
    query = f"SELECT {_ROW} FROM {table} WHERE {' AND '.join(clauses)} ORDER BY created_at DESC LIMIT ?"  # noqa: S608  fixed words
    return _decode_all(connection.execute(query, (*values, limit)))


def find_maker(connection: sqlite3.Connection, image_id: str, scope: str) -> Operation | None:
    """Return the first operation of a scope that made an image, or None; `""` means every scope."""
    query = (
        f"SELECT {_JOINED_ROW} FROM makers JOIN operations"  # noqa: S608  fixed words
        " ON operations.service = makers.service AND operations.id = makers.operation"
        " WHERE makers.image_id = ? AND (? = '' OR scope IN (SELECT value FROM json_each(?)))"
        " ORDER BY created_at LIMIT 1"
    )
    return next(_decode_all(connection.execute(query, (image_id, scope, list_readable(scope)))), None)


def add_maker(connection: sqlite3.Connection, image_id: str, operation: Operation) -> None:
    """Record that an operation made an image."""
    connection.execute("INSERT OR IGNORE INTO makers VALUES (?,?,?)", (image_id, operation.service, operation.id))


def _decode_all(rows: Iterable[Sequence[Any]]) -> Iterator[Operation]:
    for row in rows:
        try:
            operation = decode(row)
        except StoreError as error:  # one damaged row must not keep the others from being read
            logger.warning("%s", error)
        else:
            yield operation
