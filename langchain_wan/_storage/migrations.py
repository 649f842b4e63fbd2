"""The tables of a store, as numbered steps from one format to the next.

A step that was released is never changed: it has to do tomorrow what it did to the files of today. What the newest
step says of states is compared with the table of states by a test.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from langchain_wan._storage.renaming import add_digests, name_services
from langchain_wan.errors import StoreError

# Format 1: statements that do nothing to a store that has them, since that format was written without steps.
_FORMAT_1 = (
    """CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY, facts TEXT NOT NULL, created_at REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS names (
    scope TEXT NOT NULL, name TEXT NOT NULL, image_id TEXT NOT NULL, created_at REAL NOT NULL,
    url TEXT, expires_at TEXT, PRIMARY KEY (scope, name))""",
    "CREATE INDEX IF NOT EXISTS names_by_image ON names (image_id)",
    """CREATE TABLE IF NOT EXISTS uploads (
    thread TEXT NOT NULL, digest TEXT NOT NULL, number INTEGER NOT NULL, place TEXT NOT NULL,
    PRIMARY KEY (thread, digest))""",
    """CREATE TABLE IF NOT EXISTS operations (
    service TEXT NOT NULL, id TEXT NOT NULL, scope TEXT NOT NULL, fingerprint TEXT NOT NULL, turn TEXT NOT NULL,
    state TEXT NOT NULL, owner TEXT NOT NULL, request TEXT NOT NULL, max_nano INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL DEFAULT 0, error TEXT, result TEXT, created_at REAL NOT NULL,
    PRIMARY KEY (service, id))""",
    "CREATE INDEX IF NOT EXISTS operations_by_age ON operations (created_at)",
    """CREATE TABLE IF NOT EXISTS makers (
    image_id TEXT NOT NULL, service TEXT NOT NULL, operation TEXT NOT NULL,
    PRIMARY KEY (image_id, service, operation))""",
    """CREATE TABLE IF NOT EXISTS spending (
    service TEXT NOT NULL, budget TEXT NOT NULL, operation TEXT NOT NULL, held INTEGER NOT NULL,
    nano INTEGER NOT NULL, images INTEGER NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (service, operation))""",
    "CREATE INDEX IF NOT EXISTS spending_by_budget ON spending (service, budget, created_at, held, nano, images)",
    """CREATE TABLE IF NOT EXISTS totals (
    service TEXT NOT NULL, budget TEXT NOT NULL, nano INTEGER NOT NULL, held_nano INTEGER NOT NULL,
    images INTEGER NOT NULL, PRIMARY KEY (service, budget))""",
    """CREATE TRIGGER IF NOT EXISTS spending_added AFTER INSERT ON spending BEGIN
    INSERT OR IGNORE INTO totals VALUES (new.service, new.budget, 0, 0, 0);
    UPDATE totals SET nano = nano + new.nano * (1 - new.held), held_nano = held_nano + new.nano * new.held,
        images = images + new.images WHERE service = new.service AND budget = new.budget;
END""",
    """CREATE TRIGGER IF NOT EXISTS spending_changed AFTER UPDATE ON spending BEGIN
    UPDATE totals SET nano = nano + new.nano * (1 - new.held) - old.nano * (1 - old.held),
        held_nano = held_nano + new.nano * new.held - old.nano * old.held,
        images = images + new.images - old.images WHERE service = new.service AND budget = new.budget;
END""",
    """CREATE TRIGGER IF NOT EXISTS spending_gone AFTER DELETE ON spending BEGIN
    UPDATE totals SET nano = nano - old.nano * (1 - old.held), held_nano = held_nano - old.nano * old.held,
        images = images - old.images WHERE service = old.service AND budget = old.budget;
END""",
)
# Format 2: `started` said nothing of whether the request was sent, so that it may have been.
_FORMAT_2 = (
    "DROP INDEX IF EXISTS operations_unclear",
    "UPDATE operations SET state = 'sending' WHERE state = 'started'",
    """CREATE INDEX operations_open ON operations (service, scope, fingerprint)
    WHERE state IN ('claimed', 'sending', 'paid', 'partial', 'uncertain')""",
)
# Format 3: one image may have two numbers, since people count it twice; and a conversation is recognised.
_FORMAT_3 = (
    """CREATE TABLE numbered_uploads (
    thread TEXT NOT NULL, number INTEGER NOT NULL, digest TEXT NOT NULL, location TEXT NOT NULL,
    labelled INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (thread, number))""",
    "INSERT OR IGNORE INTO numbered_uploads SELECT thread, number, digest, place, 0 FROM uploads",
    "DROP TABLE uploads",
    "ALTER TABLE numbered_uploads RENAME TO uploads",
    "CREATE TABLE conversations (thread TEXT PRIMARY KEY, started_at REAL NOT NULL, seen TEXT NOT NULL)",
)
# Format 4: a ledger is known by its UUID and the number of its changes, and a row by its digest.
_FORMAT_4 = (
    "CREATE TABLE store (id TEXT NOT NULL, changes INTEGER NOT NULL)",
    "INSERT INTO store VALUES (lower(hex(randomblob(16))), 0)",
    "ALTER TABLE operations ADD COLUMN digest TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX spending_reserved ON spending (service, budget) WHERE held = 1",
)
# Format 5: images are told apart by the whole digest, of which their id is only the beginning.
_FORMAT_5 = (
    "ALTER TABLE images ADD COLUMN sha256 TEXT NOT NULL DEFAULT ''",
    "UPDATE images SET sha256 = coalesce(json_extract(facts, '$.sha256'), '') WHERE json_valid(facts)",
    "CREATE INDEX images_by_digest ON images (sha256)",
)
STEPS = (_FORMAT_1, _FORMAT_2, _FORMAT_3, _FORMAT_4, _FORMAT_5)
FORMAT = len(STEPS)


def migrate(connection: sqlite3.Connection, folder: Path | None) -> None:
    """Bring a database to the newest format, in one transaction; one that has it is only read.

    Args:
        folder: The store's; None for memory.

    Raises:
        StoreError: It was written by a newer version.
    """
    if _read_format(connection) == FORMAT:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(_read_format(connection), FORMAT):  # another process may have been faster
            for statement in STEPS[number]:
                connection.execute(statement)
            if number == 3:  # noqa: PLR2004  from format 3 to 4
                name_services(connection, folder)
                add_digests(connection)
                if folder is not None:  # a lock for each process that ever ran
                    shutil.rmtree(folder / "owners", ignore_errors=True)
        connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _read_format(connection: sqlite3.Connection) -> int:
    number = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if number > FORMAT:
        raise StoreError(
            f"The image store was written by a newer version of langchain-wan (format {number}).",
            next_step="Upgrade langchain-wan.",
        )
    return number
