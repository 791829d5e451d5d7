"""Leases: what work in flight still needs, so that garbage collection leaves it alone.

    with leases.hold() as lease:
        lease.add("blob", digest)          # before looking whether it is there
        ...
                                           # from here on only images keep it
A lease of a daemon that died means nothing any more: `clear` at start.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from corten.store.database import Database


class Lease:
    def __init__(self, database: Database, id: str) -> None:
        self._database = database
        self.id = id

    def add(self, kind: str, *names: str) -> None:
        with self._database.write() as cursor:
            rows = [(self.id, kind, name) for name in names]
            cursor.executemany("INSERT OR IGNORE INTO leases VALUES (?, ?, ?)", rows)

    def release(self) -> None:
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM leases WHERE id=?", (self.id,))


class Leases:
    """kind is "blob" or "snapshot"; name a digest or a chain id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def hold(self) -> Iterator[Lease]:
        lease = Lease(self._database, secrets.token_hex(8))
        try:
            yield lease
        finally:
            lease.release()

    def held(self, kind: str, names: Iterable[str]) -> set[str]:
        """Those of `names` that some lease holds."""
        leased = {row[0] for row in self._database.rows("SELECT name FROM leases WHERE kind=?", (kind,))}
        return leased.intersection(names)

    def clear(self) -> None:
        with self._database.write() as cursor:
            cursor.execute("DELETE FROM leases")
