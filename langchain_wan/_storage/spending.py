"""What was spent and reserved under a named budget.

`spending` has one row for each operation, `totals` the sums of them, which triggers keep.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from langchain_wan._storage.operations import Claim, Limit


def fits(connection: sqlite3.Connection, claim: Claim, limit: Limit) -> bool:
    """Say whether a budget allows what a claim may cost at most."""
    spent, reserved, images = read_spending(connection, claim.service, limit)
    money_fits = limit.max_nano is None or spent + reserved + claim.max_nano <= limit.max_nano
    return money_fits and (limit.max_images is None or images + claim.request["n"] <= limit.max_images)


def read_spending(connection: sqlite3.Connection, service: str | None, limit: Limit) -> tuple[int, int, int]:
    """Return billionths of a dollar spent and reserved under a budget, and images of both; None: every service."""
    where = "budget = ?" if service is None else "budget = ? AND service = ?"
    values: list[Any] = [limit.name] if service is None else [limit.name, service]
    columns, table = ("nano", "held_nano", "images"), "totals"
    if limit.window is not None:
        columns, table = ("nano * (1 - held)", "nano * held", "images"), "spending"
        where, values = f"{where} AND created_at >= ?", [*values, time.time() - limit.window]
    sums = ", ".join(f"coalesce(sum({column}), 0)" for column in columns)
    row = connection.execute(f"SELECT {sums} FROM {table} WHERE {where}", values).fetchone()  # noqa: S608  fixed words
    return int(row[0]), int(row[1]), int(row[2])


def reserve(connection: sqlite3.Connection, claim: Claim, limit: Limit, now: float) -> None:
    """Reserve what an operation may cost at most; nothing may be reserved for it yet."""
    connection.execute(
        "INSERT INTO spending VALUES (?,?,?,1,?,?,?)",
        (claim.service, limit.name, claim.id, claim.max_nano, claim.request["n"], now),
    )


def settle(connection: sqlite3.Connection, service: str, operation_id: str, cost_nano: int, images: int | None) -> None:
    """Replace a reservation by what was charged; None leaves the number of images."""
    connection.execute(
        "UPDATE spending SET held = 0, nano = ?, images = coalesce(?, images) WHERE service = ? AND operation = ?",
        (cost_nano, images, service, operation_id),
    )


def release(connection: sqlite3.Connection, service: str, operation_id: str) -> None:
    """Give back what was reserved for an operation that did no work."""
    connection.execute("DELETE FROM spending WHERE service = ? AND operation = ?", (service, operation_id))
