"""Records of the other nouns (containers, networks, volumes, snapshots): (kind, id) to one JSON object."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from corten.spec.json import Json
from corten.store.database import Database

_log = logging.getLogger(__name__)


class Records:
    """A write is durable against kill -9 when it returns. `put` replaces; `delete` of something absent does nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, kind: str, id: str, body: Json) -> None:
        self.put_all(kind, {id: body})

    def put_all(self, kind: str, bodies: dict[str, Json]) -> None:
        """Several at once, all or none."""
        rows = [(kind, id, msgspec.json.encode(body).decode()) for id, body in bodies.items()]
        with self._database.write() as cursor:
            cursor.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", rows)

    def rename(self, kind: str, id: str, new: str, body: Json) -> None:
        """`put` of `new` and `delete` of `id`, both or none."""
        with self._database.write():
            self.put(kind, new, body)
            self.delete(kind, id)

    def get(self, kind: str, id: str) -> Json | None:
        row = self._database.row("SELECT body FROM records WHERE kind=? AND id=?", (kind, id))
        return None if row is None else msgspec.json.decode(row[0])

    def delete(self, kind: str, id: str) -> None:
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM records WHERE kind=? AND id=?", (kind, id))

    def list(self, kind: str) -> dict[str, Json]:
        """id to body, in the order of ids. The body is {} where no JSON object can be read: the id stays known, so that
        nothing of it is taken for what is left over, and the others are there."""
        rows = self._database.rows("SELECT id, CAST(body AS BLOB) FROM records WHERE kind=? ORDER BY id", (kind,))
        return {id: _body(kind, id, body) for id, body in rows}


def _body(kind: str, id: str, text: bytes) -> Json:
    """Of bytes, which need not be UTF-8."""
    try:
        found: Json = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        _log.error("the record of %s %s cannot be read: %s", kind, id, error)
        return {}
    return found
