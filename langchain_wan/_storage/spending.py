"""What was spent and reserved under a named budget."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from langchain_wan._storage.operations import Claim, Limit

if TYPE_CHECKING:
    pass


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
