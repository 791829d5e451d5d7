"""The one SQLite file, `corten.db`: WAL, synchronous=NORMAL, one writer.

A committed transaction survives kill -9; a power loss may take the last ones, but never half of one. The connection is
shared by threads under one lock: a statement costs microseconds, a writer thread would cost more than it spares.

Never open the file in a process that forks afterwards, and never open it by other means: closing any descriptor of
it drops SQLite's POSIX locks (sqlite.org/howtocorrupt.html, 2.2 and 2.6).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corten.errors import Corrupt, CortenError, Exhausted, Unavailable

log = logging.getLogger(__name__)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE records (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id))"
        " WITHOUT ROWID",
        "CREATE TABLE images (id TEXT PRIMARY KEY, manifest TEXT NOT NULL, config TEXT NOT NULL, layers TEXT NOT NULL,"
        " size INTEGER NOT NULL, created TEXT NOT NULL, added REAL NOT NULL) WITHOUT ROWID",
        "CREATE TABLE tags (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id)) WITHOUT ROWID",
        "CREATE INDEX tags_of_image ON tags(image)",
        "CREATE TABLE image_digests (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id)) WITHOUT ROWID",
        "CREATE INDEX digests_of_image ON image_digests(image)",
    ),
)


_CHECKPOINT = 512  # pages of 4 KiB that the log holds before they are moved over
_RESERVE = (_CHECKPOINT + 64) * 4096  # bytes


class Database:
    """`with db.write() as cursor:` is one transaction; `db.rows(sql, ...)` reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        _create(path)
        with _translating(path):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            self._connection.text_factory = _text
            try:
                for pragma in (
                    "journal_mode=WAL",
                    "synchronous=NORMAL",
                    "foreign_keys=ON",
                    "temp_store=MEMORY",
                    f"wal_autocheckpoint={_CHECKPOINT}",
                ):
                    self._connection.execute(f"PRAGMA {pragma}")
                self._migrate()
                self._reserve()
            except BaseException:
                self._connection.close()
                raise

    def _migrate(self) -> None:
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise Corrupt(f"{self.path} was written by a newer version of this engine (schema {version})")
        for number, steps in enumerate(MIGRATIONS[version:], version + 1):
            with self.write() as cursor:
                for step in steps:
                    cursor.execute(step)
                cursor.execute(f"PRAGMA user_version={number}")

    def _reserve(self) -> None:
        """Reserve room in both files, so that records can be deleted on a full disk.

        As much as the log may hold is written and deleted: the database keeps the pages as free ones, and the log, once
        its content has been moved over, is written from its beginning again. On a disk that is nearly full it is left
        undone: a partial one would use up the room that an earlier daemon may have reserved.
        """
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < 3 * _RESERVE:
            log.warning(
                "%s: less than %d bytes are free, none are set aside for removing things", self.path, 3 * _RESERVE
            )
            return
        with self.write() as cursor:
            cursor.execute("DROP TABLE IF EXISTS reserve")  # a daemon may have been killed between the two
            cursor.execute("CREATE TABLE reserve (filling BLOB)")
            cursor.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_RESERVE,))
        with self.write() as cursor:
            cursor.execute("DROP TABLE reserve")
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Cursor]:
        """One transaction: committed when the block ends, rolled back when it raises. Nested blocks join the outer."""
        with self._lock:
            self._depth += 1
            outermost = self._depth == 1
            try:
                cursor = self._connection.cursor()
                if outermost:
                    cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                if outermost:
                    cursor.execute("COMMIT")
            except BaseException as error:
                if outermost and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if (ours := _translated(self.path, error)) is not None:
                    raise ours from error
                raise
            finally:
                self._depth -= 1

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, _translating(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        with self._lock, _translating(self.path):
            found: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
            return found

    def faults(self) -> list[str]:
        """What SQLite itself finds wrong with the file, pages and references; empty when it is sound."""
        found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(20)") if row[0] != "ok"]
        return found + [
            f"{row[0]}: a row refers to {row[2]} that is not there" for row in self.rows("PRAGMA foreign_key_check")
        ]

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _text(value: bytes) -> str:
    """A text of a damaged disk is shown as well as it can be: an error would hide all others of its table."""
    return value.decode(errors="replace")


def _create(path: Path) -> None:
    """Root's alone, from the first byte on: containers' environments are in it. SQLite gives the files beside it the
    same mode (findCreateFileMode in os_unix.c). Nothing of it may be open by now, see above."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if (ours := _translated(path, error)) is not None:
            raise ours from error
        raise


def _translated(path: Path, error: BaseException) -> CortenError | None:
    """SQLite's errors as ours, by what a caller can do about them; None for others, and for mistakes of our own."""
    if isinstance(error, sqlite3.OperationalError):
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            return Exhausted(f"no space left for {path}; remove images or containers, or free some disk")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return Unavailable(f"{path} is locked by another process")
        return Unavailable(f"cannot use {path}: {error}")
    mistakes = sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, mistakes):
        return Corrupt(f"{path} is damaged: {error}")
    return None
