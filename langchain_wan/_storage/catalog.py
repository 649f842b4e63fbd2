"""Which images there are, and which scope knows which of them by which name."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from langchain_wan._net.signed_urls import KnownUrls
from langchain_wan._storage.ids import belongs_to, image_ids
from langchain_wan._storage.scopes import list_readable
from langchain_wan._storage.sqlite import Database
from langchain_wan.errors import StoreError

_OF_A_SCOPE = ("url", "expires_at")  # two scopes may store identical bytes, and must not see each other's URLs
_IN_SCOPE = "(? = '' OR scope IN (SELECT value FROM json_each(?)))"
_IMAGES = f"SELECT id, facts, url, expires_at FROM images JOIN names ON names.image_id = images.id WHERE {_IN_SCOPE}"  # noqa: S608  no input


class Catalog:
    """The images and names of a database.

    Args:
        transaction: How it writes; None means the database's own transactions.
    """

    def __init__(
        self,
        database: Database,
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]] | None = None,
    ) -> None:
        self._database = database
        self._transaction = transaction or database.transaction

    def add_image(self, facts: Mapping[str, Any], scope: str, ensure: Callable[[], object] | None = None) -> str:
        """Record an image and that a scope knows it by its id and URL, and return the id.

        A newer URL replaces the older one. The id is the short one, unless another image of the store has it.

        Args:
            ensure: Called within the transaction: it stores the bytes if somebody has just deleted them.
        """
        now = time.time()
        of_bytes = {name: value for name, value in facts.items() if name not in _OF_A_SCOPE}
        of_scope = [facts.get(name) for name in _OF_A_SCOPE]
        with self._transaction() as connection:
            image_id, is_new = _choose_id(connection, facts["sha256"])
            if is_new:
                row = (image_id, json.dumps({**of_bytes, "id": image_id}), now, facts["sha256"])
                connection.execute("INSERT INTO images (id, facts, created_at, sha256) VALUES (?,?,?,?)", row)
            connection.execute(
                "INSERT INTO names VALUES (?,?,?,?,?,?) ON CONFLICT (scope, name) DO UPDATE SET"
                " created_at = excluded.created_at, url = coalesce(excluded.url, url),"
                " expires_at = CASE WHEN excluded.url IS NULL THEN expires_at ELSE excluded.expires_at END",
                (scope, image_id, image_id, now, *of_scope),
            )
            if ensure is not None:
                ensure()
        return image_id

    def knows(self, sha256: str, scope: str) -> bool:
        """Say whether a scope knows an image with this digest; the scope `""` knows every image."""
        query = _IMAGES + " AND sha256 = ? LIMIT 1"
        with self._database.read() as connection:
            return connection.execute(query, (scope, list_readable(scope), sha256)).fetchone() is not None

    def image(self, image_id: str, scope: str) -> dict[str, Any] | None:
        """Return what is recorded of an image that a scope knows, or None; the scope `""` knows every image.

        Raises:
            StoreError: Its row is damaged.
        """
        query = _IMAGES + " AND id = ? ORDER BY url IS NULL, names.created_at DESC LIMIT 1"
        with self._database.read() as connection:
            row = connection.execute(query, (scope, list_readable(scope), image_id)).fetchone()
        return None if row is None else _read_facts(*row)

    def digests(self, image_ids: Sequence[str], scope: str) -> dict[str, str]:
        """Return the digests of those of these images that a scope knows, by their ids."""
        query = (
            "SELECT id, sha256 FROM images WHERE id IN (SELECT value FROM json_each(?))"
            " AND (? = '' OR EXISTS (SELECT 1 FROM names WHERE names.image_id = images.id"
            " AND scope IN (SELECT value FROM json_each(?))))"
        )
        with self._database.read() as connection:
            rows = connection.execute(query, (json.dumps(list(image_ids)), scope, list_readable(scope)))
            return {str(image_id): str(sha256) for image_id, sha256 in rows}

    def image_at(self, url: str, scope: str) -> dict[str, Any] | None:
        """Return the image that a URL showed, or None; see `KnownUrls`."""
        query = _IMAGES + " AND substr(url || '?', 1, length(?) + 1) = ? || '?' LIMIT 100"
        bare = url.partition("?")[0].partition("#")[0]
        with self._database.read() as connection:
            rows = connection.execute(query, (scope, list_readable(scope), bare, bare)).fetchall()
        meant = KnownUrls((known, str(image_id)) for image_id, _, known, _ in rows).find(url)
        return next((_read_facts(*row) for row in rows if row[0] == meant), None)

    def forget_image(self, image_id: str, scope: str, delete: Callable[[], object]) -> None:
        """Forget that a scope knows an image, `""` meaning every scope.

        Args:
            delete: Called within the transaction if nobody knows the image any more, to delete its bytes.
        """
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM names WHERE image_id = ? AND {_IN_SCOPE}",  # noqa: S608  no input
                (image_id, scope, list_readable(scope)),
            )
            known = connection.execute("SELECT 1 FROM names WHERE image_id = ?", (image_id,)).fetchone()
            if known is None:
                connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
                delete()

    def images_before(self, moment: float, scope: str) -> list[str]:
        """Return the ids of the images that a scope has known since before a moment."""
        query = f"SELECT image_id FROM names WHERE {_IN_SCOPE} GROUP BY image_id HAVING max(created_at) < ?"  # noqa: S608  no input
        with self._database.read() as connection:
            return [str(row[0]) for row in connection.execute(query, (scope, list_readable(scope), moment))]

    def names(self, scope: str, limit: int = 20, since: float = 0.0) -> list[str]:
        """Return the names that a scope has learned since a moment, the newest last."""
        query = (
            "SELECT name FROM names WHERE scope IN (SELECT value FROM json_each(?)) AND created_at >= ?"
            " ORDER BY created_at DESC, rowid DESC LIMIT ?"
        )
        with self._database.read() as connection:
            return [str(row[0]) for row in connection.execute(query, (list_readable(scope), since, limit))][::-1]

    def uploads(self, thread: str) -> list[tuple[int, str, str, bool]]:
        """Return number, digest and location of each upload of a conversation, and whether a model saw its label.

        Raises:
            StoreError: A row is damaged.
        """
        query = "SELECT number, digest, location, labelled FROM uploads WHERE thread = ? ORDER BY number"
        with self._database.read() as connection:
            rows = connection.execute(query, (thread,)).fetchall()
        if not all(tuple(map(type, row)) == (int, str, str, int) for row in rows):
            raise _build_damaged(f"the uploads of the conversation {thread!r}")
        return [(number, digest, location, bool(labelled)) for number, digest, location, labelled in rows]

    def record_uploads(self, thread: str, rows: Iterable[tuple[int, str, str, bool]]) -> None:
        """Record uploads of a conversation; of one that is recorded, only the label changes."""
        statement = (
            "INSERT INTO uploads (thread, number, digest, location, labelled) VALUES (?,?,?,?,?)"
            " ON CONFLICT (thread, number) DO UPDATE SET labelled = max(labelled, excluded.labelled)"
        )
        with self._transaction() as connection:
            connection.executemany(statement, [(thread, *row) for row in rows])

    def locate_upload(self, thread: str, digest: str, location: str) -> None:
        """Record where an upload is now."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE uploads SET location = ? WHERE thread = ? AND digest = ?", (location, thread, digest)
            )

    def conversation(self, thread: str) -> tuple[float | None, list[str]]:
        """Return when a conversation began, None if it is not known, and the ids of messages that were seen in it.

        Raises:
            StoreError: Its row is damaged.
        """
        query = "SELECT started_at, seen FROM conversations WHERE thread = ?"
        with self._database.read() as connection:
            row = connection.execute(query, (thread,)).fetchone()
        if row is None:
            return None, []
        seen = _parse(row[1])
        is_right = isinstance(seen, list) and all(isinstance(message_id, str) for message_id in seen)
        if not is_right or not isinstance(row[0], float):
            raise _build_damaged(f"the conversation {thread!r}")
        return row[0], seen

    def begin_conversation(self, thread: str, moment: float) -> None:
        """Forget the uploads of the conversation that had this thread before."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM uploads WHERE thread = ?", (thread,))
            connection.execute("INSERT OR REPLACE INTO conversations VALUES (?,?,'[]')", (thread, moment))

    def record_seen(self, thread: str, message_ids: Sequence[str]) -> None:
        """Record the messages by which a conversation is recognised."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO conversations VALUES (?, 0, ?) ON CONFLICT (thread) DO UPDATE SET seen = excluded.seen",
                (thread, json.dumps(list(message_ids))),
            )


def _choose_id(connection: sqlite3.Connection, sha256: str) -> tuple[str, bool]:
    """Return the id of an image, and whether the image is new."""
    row = connection.execute("SELECT id FROM images WHERE sha256 = ?", (sha256,)).fetchone()
    if row is not None:
        if not belongs_to(str(row[0]), sha256):
            raise build_damaged_image(row[0])
        return str(row[0]), False
    ids = image_ids(sha256)
    query = "SELECT id FROM images WHERE id IN (?,?,?)"
    taken = {other for (other,) in connection.execute(query, ids)}
    return next((image_id for image_id in ids if image_id not in taken), ids[-1]), True


def _read_facts(image_id: object, text: object, *of_scope: object) -> dict[str, Any]:
    facts = _parse(text)
    if not isinstance(facts, dict) or facts.get("id") != image_id:
        raise build_damaged_image(image_id)
    return {**facts, **dict(zip(_OF_A_SCOPE, of_scope, strict=True))}


def _parse(text: object) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def build_damaged_image(image_id: object) -> StoreError:
    """Return the error of an image whose facts can't be believed."""
    return _build_damaged(f"image {str(image_id)!r}")


def _build_damaged(what: str) -> StoreError:
    return StoreError(
        f"What the image store knows of {what[:200]} is damaged.", next_step="Restore the store from a backup."
    )
