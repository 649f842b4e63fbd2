"""What was spent and reserved under a named budget.

`spending` has one row for each operation, `totals` the sums of them, which triggers keep.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from langchain_wan._storage.operations import Claim, Limit
from langchain_wan.errors import StoreError

_TOTALS = "SELECT sum(nano), sum(held_nano), sum(images), count(*) FROM totals"
# A reservation counts whatever its age: it is spent when it is settled.
_RESERVED = "SELECT 0, sum(nano), sum(images), count(*) FROM spending"
_SPENT = "SELECT sum(nano), 0, sum(images), count(*) FROM spending"


def fits(connection: sqlite3.Connection, claim: Claim, limit: Limit) -> bool:
    """Say whether a budget allows what a claim may cost at most."""
    spent, reserved, images = read_spending(connection, claim.service, limit)
    money_fits = limit.max_nano is None or spent + reserved + claim.max_nano <= limit.max_nano
    return money_fits and (limit.max_images is None or images + claim.request["n"] <= limit.max_images)


def read_spending(connection: sqlite3.Connection, service: str | None, limit: Limit) -> tuple[int, int, int]:
    """Return billionths of a dollar spent and reserved under a budget, and images of both; None: every service.

    Raises:
        StoreError: An amount is damaged.
    """
    where = " WHERE budget = ?" if service is None else " WHERE budget = ? AND service = ?"
    values: list[Any] = [limit.name] if service is None else [limit.name, service]
    queries = [(_TOTALS + where, values)]
    if limit.window is not None:
        since = time.time() - limit.window
        queries = [
            (f"{_RESERVED}{where} AND held = 1", values),
            (f"{_SPENT}{where} AND held = 0 AND created_at >= ?", [*values, since]),
        ]
    sums = [_read_sums(connection, limit, *query) for query in queries]
    spent, reserved, images = (sum(column) for column in zip(*sums, strict=True))
    return spent, reserved, images


def _read_sums(connection: sqlite3.Connection, limit: Limit, query: str, values: list[Any]) -> tuple[int, int, int]:
    *sums, rows = connection.execute(query, values).fetchone()
    if not rows:
        return 0, 0, 0
    if not all(type(value) is int and value >= 0 for value in sums):
        raise StoreError(
            f"What the image store counts under the budget {limit.name!r} is damaged: an amount is not a number.",
            next_step="Restore the store's folder from a backup.",
        )
    return sums[0], sums[1], sums[2]


def reserve(connection: sqlite3.Connection, claim: Claim, limit: Limit, now: float) -> None:
    """Reserve what an operation may cost at most; nothing may be reserved for it yet."""
    connection.execute(
        "INSERT INTO spending VALUES (?,?,?,1,?,?,?)",
        (claim.service, limit.name, claim.id, claim.max_nano, claim.request["n"], now),
    )


def settle(connection: sqlite3.Connection, service: str, operation_id: str, cost_nano: int, images: int | None) -> None:
    """Replace a reservation by what was charged now; None leaves the number of images."""
    # What is settled again, after a resume, was spent when it was settled first.
    connection.execute(
        "UPDATE spending SET created_at = CASE held WHEN 1 THEN ? ELSE created_at END, held = 0, nano = ?,"
        " images = coalesce(?, images) WHERE service = ? AND operation = ?",
        (time.time(), cost_nano, images, service, operation_id),
    )


def release(connection: sqlite3.Connection, service: str, operation_id: str) -> None:
    """Give back what was reserved for an operation that did no work."""
    connection.execute("DELETE FROM spending WHERE service = ? AND operation = ?", (service, operation_id))
