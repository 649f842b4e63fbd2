"""What the step to format 4 does that SQL can't: one name for each service, and a digest for each row."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from langchain_wan._net.endpoint import parse_base_url
from langchain_wan._storage.blobs import name_raw
from langchain_wan._storage.rows import COLUMNS, compute_digest
from langchain_wan.errors import WanConfigurationError

_TABLES = ("operations", "makers", "spending")


def name_services(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Give each service the one name that it has now, however its address was spelled; also to its raw answers."""
    renamed = False
    for (service,) in connection.execute("SELECT DISTINCT service FROM operations").fetchall():
        try:
            name = parse_base_url(service)[0]
        except (WanConfigurationError, AttributeError, TypeError):  # what is not an address stays as it is
            continue
        if name == service:
            continue
        renamed = True
        _rename_answers(connection, folder, service, name)
        for table in _TABLES:
            # Where one operation was made under both spellings, the second row stays as it is.
            connection.execute(f"UPDATE OR IGNORE {table} SET service = ? WHERE service = ?", (name, service))  # noqa: S608  fixed words
    if renamed:
        connection.execute("DELETE FROM totals")
        connection.execute(
            "INSERT INTO totals SELECT service, budget, sum(nano * (1 - held)), sum(nano * held), sum(images)"
            " FROM spending GROUP BY service, budget"
        )


def _rename_answers(connection: sqlite3.Connection, folder: Path | None, service: str, name: str) -> None:
    if folder is None:
        return
    query = "SELECT id FROM operations WHERE service = ? AND id NOT IN (SELECT id FROM operations WHERE service = ?)"
    for (operation_id,) in connection.execute(query, (service, name)).fetchall():
        with suppress(FileNotFoundError):
            (folder / "raw" / name_raw(f"{service} {operation_id}")).rename(
                folder / "raw" / name_raw(f"{name} {operation_id}")
            )


def add_digests(connection: sqlite3.Connection) -> None:
    """Add its digest to each row."""
    columns = ", ".join(COLUMNS[:-1])
    for rowid, *values in connection.execute(f"SELECT rowid, {columns} FROM operations").fetchall():  # noqa: S608  fixed words
        connection.execute("UPDATE operations SET digest = ? WHERE rowid = ?", (compute_digest(values), rowid))
