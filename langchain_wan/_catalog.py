"""Which images there are, and which scope knows which of them by which name."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from langchain_wan._database import Database


class Catalog:
    """The images and names of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_image(self, image_id: str, facts: Mapping[str, Any], scope: str) -> None:
        """Record an image, and that a scope knows it by its id; a newer URL replaces the older one."""
        now = time.time()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?,?,?) ON CONFLICT (id) DO UPDATE SET facts = excluded.facts"
                " WHERE json_extract(excluded.facts, '$.url') IS NOT NULL",
                (image_id, json.dumps(dict(facts)), now),
            )
            connection.execute("INSERT OR REPLACE INTO names VALUES (?,?,?,?)", (scope, image_id, image_id, now))

    def image(self, image_id: str, scope: str) -> dict[str, Any] | None:
        """Return what is recorded of an image that a scope knows, or None; the scope `""` knows every image."""
        query = (
            "SELECT facts FROM images WHERE id = ?"
            " AND (? = '' OR EXISTS (SELECT 1 FROM names WHERE scope = ? AND name = id))"
        )
        with self._database.transaction() as connection:
            row = connection.execute(query, (image_id, scope, scope)).fetchone()
        return None if row is None else json.loads(row[0])

    def image_at(self, url: str, scope: str) -> dict[str, Any] | None:
        """Return the image that a URL showed, or None; a query is ignored where that leaves one image."""
        query = (
            "SELECT DISTINCT facts FROM images JOIN names ON names.image_id = images.id WHERE (? = '' OR scope = ?)"
            " AND substr(json_extract(facts, '$.url') || '?', 1, length(?) + 1) = ? || '?' LIMIT 100"
        )
        bare = url.partition("?")[0].partition("#")[0]
        with self._database.transaction() as connection:
            found = [json.loads(row[0]) for row in connection.execute(query, (scope, scope, bare, bare))]
        exact = next((facts for facts in found if facts["url"] == url), None)
        return exact or (found[0] if len(found) == 1 else None)

    def forget_image(self, image_id: str, scope: str) -> bool:
        """Forget that a scope knows an image, `""` meaning every scope; say whether nobody knows it any more."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM names WHERE image_id = ? AND (? = '' OR scope = ?)", (image_id, scope, scope)
            )
            known = connection.execute("SELECT 1 FROM names WHERE image_id = ?", (image_id,)).fetchone()
            if known is None:
                connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
        return known is None

    def images_before(self, moment: float, scope: str) -> list[str]:
        """Return the ids of the images that a scope has known since before a moment."""
        query = "SELECT image_id FROM names WHERE (? = '' OR scope = ?) GROUP BY image_id HAVING max(created_at) < ?"
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(query, (scope, scope, moment))]

    def names(self, scope: str, limit: int = 20) -> list[str]:
        """Return the names that a scope knows, the newest last."""
        query = "SELECT name FROM names WHERE scope = ? ORDER BY created_at DESC, rowid DESC LIMIT ?"
        with self._database.transaction() as connection:
            return [row[0] for row in connection.execute(query, (scope, limit))][::-1]
