"""Image records: an image is its configuration's digest; tags and repository digests point at it."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from corten.errors import Corrupt
from corten.spec.digest import is_digest
from corten.spec.image_config import ImageConfig, recorded
from corten.spec.oci_image import Descriptor, chain_ids
from corten.store.database import Database
from corten.store.descriptors import Recorded

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """`manifest` is the digest of the manifest blob; `layers` are its descriptors in order, bottom first.

    `size` is bytes of all layers unpacked; `added` seconds since the epoch of when it came here. `others` are digests
    of blobs that are kept with it: first the index that it came in, then what that has for other platforms. `parent` is
    the id of the image that it was committed on, which may be gone; "" for none.

    Of a record that cannot be read (another version's, a damaged disk's) there is what can be: see `whole`.
    """

    id: str
    manifest: str
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    size: int
    created: str
    added: float
    others: tuple[str, ...] = ()
    parent: str = ""
    readable: bool = True

    @property
    def chain(self) -> tuple[str, ...]:
        return chain_ids(self.config.diff_ids)

    @property
    def whole(self) -> bool:
        """Every blob and tree that is here for its sake is known."""
        return self.readable and len(self.layers) == len(self.config.diff_ids)

    def must_be_whole(self) -> None:
        """Raises Corrupt."""
        if not self.whole:
            raise Corrupt(f"the record of image {self.id} cannot be read: pull or load the image again")

    @property
    def blobs(self) -> tuple[str, ...]:
        return (self.id, self.manifest, *(layer.digest for layer in self.layers))

    @property
    def kept(self) -> tuple[str, ...]:
        """Every blob that is here for its sake."""
        return (*self.blobs, *self.others)


class ImageRecords:
    """Names here are canonical: `docker.io/library/busybox:latest` for tags, `.../busybox@sha256:..` for digests.

    `changes` counts the writes: a cached result is valid as long as it has not changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._faulty: set[str] = set()
        self.changes = 0

    def put(self, record: ImageRecord, tags: Sequence[str] = (), digests: Sequence[str] = ()) -> None:
        """Keep the image and point these names at it, in one transaction."""
        stored = {"layers": [layer.to_json() for layer in record.layers], "others": record.others}
        layers = json.dumps({**stored, "parent": record.parent})
        values = (record.id, record.manifest, record.config.to_bytes().decode(), layers, record.size, record.created)
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO images VALUES (?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET"
                " manifest=excluded.manifest, config=excluded.config, layers=excluded.layers, size=excluded.size,"
                " created=excluded.created",
                (*values, record.added or time.time()),
            )
            cursor.executemany("INSERT OR REPLACE INTO tags VALUES (?,?)", [(tag, record.id) for tag in tags])
            cursor.executemany("INSERT OR REPLACE INTO image_digests VALUES (?,?)", [(d, record.id) for d in digests])

    def get(self, id: str) -> ImageRecord | None:
        row = self._database.row("SELECT * FROM images WHERE id=?", (id,))
        return None if row is None else self._record(row)

    def all(self) -> list[ImageRecord]:
        """Newest creation first, as Docker lists them."""
        return [self._record(row) for row in self._database.rows("SELECT * FROM images ORDER BY created DESC, id")]

    def with_prefix(self, prefix: str) -> list[str]:
        """At most two ids `sha256:PREFIX...`: none, the one, or a sign that it is ambiguous."""
        low = f"sha256:{prefix}"
        rows = self._database.rows("SELECT id FROM images WHERE id>=? AND id<? LIMIT 2", (low, low + "g"))
        return [row[0] for row in rows]

    def with_manifest(self, digest: str) -> str | None:
        """The image that this manifest is of."""
        row = self._database.row("SELECT id FROM images WHERE manifest=? LIMIT 1", (digest,))
        return None if row is None else str(row[0])

    def by_tag(self, name: str) -> str | None:
        row = self._database.row("SELECT image FROM tags WHERE name=?", (name,))
        return None if row is None else str(row[0])

    def by_digest(self, name: str) -> str | None:
        row = self._database.row("SELECT image FROM image_digests WHERE name=?", (name,))
        return None if row is None else str(row[0])

    def tags(self, id: str) -> tuple[str, ...]:
        return self._names("tags", id)

    def digests(self, id: str) -> tuple[str, ...]:
        return self._names("image_digests", id)

    def names(self) -> dict[str, tuple[list[str], list[str]]]:
        """id to (tags, digests) of every named image, in two queries however many there are."""
        names: dict[str, tuple[list[str], list[str]]] = {}
        for position, table in enumerate(("tags", "image_digests")):
            for name, image in self._database.rows(f"SELECT name, image FROM {table} ORDER BY name"):
                names.setdefault(image, ([], []))[position].append(name)
        return names

    def tag(self, name: str, id: str) -> None:
        with self._write() as cursor:
            cursor.execute("INSERT OR REPLACE INTO tags VALUES (?,?)", (name, id))

    def name_digest(self, name: str, id: str) -> None:
        """Point a digest name at the image, if it is here (still)."""
        with self._write() as cursor:
            cursor.execute("INSERT OR REPLACE INTO image_digests SELECT ?, id FROM images WHERE id=?", (name, id))

    def untag(self, name: str) -> None:
        """Forget a tag or a digest name."""
        with self._write() as cursor:
            cursor.execute("DELETE FROM tags WHERE name=?", (name,))
            cursor.execute("DELETE FROM image_digests WHERE name=?", (name,))

    def delete(self, id: str) -> None:
        with self._write() as cursor:
            for table in ("tags", "image_digests"):
                cursor.execute(f"DELETE FROM {table} WHERE image=?", (id,))
            cursor.execute("DELETE FROM images WHERE id=?", (id,))

    def _record(self, row: tuple[Any, ...]) -> ImageRecord:
        """An image whose configuration only an earlier version accepted is shown with the valid part of it."""
        id, manifest, body, layers, size, created, added = row
        config, error = recorded(body)
        stored, broken = _stored(layers)
        if id not in self._faulty and (error or broken):
            self._faulty.add(id)
            if error is not None:
                _log.warning("the configuration of image %s is faulty, and shown without its faults: %s", id, error)
            if broken is not None:
                _log.error("the record of image %s cannot be read: %s; pull or load the image again", id, broken)
        descriptors = tuple(layer.descriptor() for layer in stored.layers)
        size, added = size if isinstance(size, int) else 0, added if isinstance(added, int | float) else 0.0
        named = (manifest, *(layer.digest for layer in descriptors), *stored.others)
        above, readable = (stored.others, stored.parent), broken is None and all(map(is_digest, named))
        return ImageRecord(id, manifest, config, descriptors, size, created, added, *above, readable)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Cursor]:
        try:
            with self._database.write() as cursor:
                yield cursor
        finally:
            self.changes += 1

    def _names(self, table: str, id: str) -> tuple[str, ...]:
        return tuple(
            row[0] for row in self._database.rows(f"SELECT name FROM {table} WHERE image=? ORDER BY name", (id,))
        )


class _Stored(msgspec.Struct, frozen=True):
    """What `put` makes of an image's parts."""

    layers: tuple[Recorded, ...] = ()
    others: tuple[str, ...] = ()
    parent: str = ""


def _stored(text: str) -> tuple[_Stored, msgspec.MsgspecError | None]:
    """What is recorded, and why it cannot be read."""
    try:
        if text.startswith("["):  # as the first version kept them
            return _Stored(msgspec.json.decode(text, type=tuple[Recorded, ...])), None
        return msgspec.json.decode(text, type=_Stored), None
    except msgspec.MsgspecError as error:
        return _Stored(), error
