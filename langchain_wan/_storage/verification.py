"""A look at the whole ledger before the first claim of a process: what is damaged is reported before money is spent."""

from __future__ import annotations

import sqlite3

from langchain_wan._concurrency.forks import current_process
from langchain_wan._storage.rows import COLUMNS, build_damaged, is_whole
from langchain_wan._storage.sqlite import Database
from langchain_wan._text.logs import logger
from langchain_wan.errors import StoreError

LISTED = 20  # damaged rows that are named


class Verification:
    """Whether a ledger on disk was looked at by this process; one in memory can't be damaged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._verified_by: object = None

    def run(self) -> None:
        """Look at the whole ledger, once in each process. Damaged rows are logged, so that the others can be used.

        Raises:
            StoreError: The structure of the database is damaged, so that it can't be told what is missing.
        """
        if self._database.path is None or self._verified_by is current_process():
            return
        with self._database.read() as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if problems != ["ok"]:
                raise StoreError(
                    f"The image store's ledger is damaged: {'; '.join(map(str, problems))[:300]}.",
                    next_step="Restore the store's folder from a backup.",
                )
            _check_totals(connection)
            _report_amounts(connection)
            self._report_rows(connection)
        self._verified_by = current_process()

    def _report_rows(self, connection: sqlite3.Connection) -> None:
        damaged = 0
        for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM operations"):  # noqa: S608  fixed words
            if is_whole(row):
                continue
            damaged += 1
            if damaged <= LISTED:
                logger.warning("%s", build_damaged(row[1], row[0], "its digest is wrong"))
        if damaged > LISTED:
            logger.warning("%d more rows of the image store's ledger are damaged", damaged - LISTED)


def _report_amounts(connection: sqlite3.Connection) -> None:
    query = (
        "SELECT DISTINCT budget FROM spending JOIN operations"
        " ON operations.service = spending.service AND operations.id = spending.operation"
        " WHERE nano IS NOT CASE held WHEN 1 THEN max_nano WHEN 0 THEN cost_nano END"
    )
    for (budget,) in connection.execute(query):
        logger.warning("what is counted under the budget %r is not what its operations cost", budget)


def _check_totals(connection: sqlite3.Connection) -> None:
    query = (
        "SELECT service, budget, sum(nano * (1 - held)), sum(nano * held), sum(images) FROM spending"
        " GROUP BY service, budget"
    )
    nothing = (0, 0, 0)
    sums = {row[:2]: row[2:] for row in connection.execute(query)}
    totals = {
        row[:2]: row[2:] for row in connection.execute("SELECT service, budget, nano, held_nano, images FROM totals")
    }
    for budget in sums.keys() | totals.keys():
        if sums.get(budget, nothing) != totals.get(budget, nothing):
            raise StoreError(
                f"What the image store counts under the budget {str(budget[1])[:200]!r} is damaged: its sum is wrong.",
                next_step="Restore the store's folder from a backup.",
            )
