"""What steps have made, by the key of their content: durable records, bounded by a policy.

A record is used only on top of the very tree that it was made on. A step whose parent was made again has the same key
when the new parent has the same content; it finds the record because such a parent is exchanged for the recorded one
(`same`), whose times are older and whose content is the same.

The layer and the tree of a record are kept from the collector of images (`blobs`, `trees`) as long as it is there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from corten.errors import CortenError
from corten.spec.json import Json
from corten.store.descriptors import Recorded
from corten.store.table import Table

if TYPE_CHECKING:
    from corten.build.contract import Layer

log = logging.getLogger(__name__)
KIND = "build-cache"
Sums = Mapping[str, str]


@dataclass(slots=True)
class Record:
    """`parent` is the tree below, "" for none, and `depth` how many layers that has. Times are seconds since the
    epoch. `sums` are the checksums of sources in other stages' trees that its key was made of, by `keys.source`: such
    a tree never changes."""

    key: str
    parent: str
    depth: int
    layer: Layer
    description: str
    created: float
    used: float
    count: int = 0
    sums: Sums | None = None

    @property
    def tree(self) -> str:
        """The tree with what was added: the parent, when that is nothing."""
        return self.layer.tree or self.parent


class Cache:
    """`table` has the records. `here`, of the methods, says whether a layer's blob and tree are in the image store."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._records: dict[str, Record] = {}
        self._by_content: dict[tuple[str, str], str] = {}
        self._sums: dict[str, str] = {}
        self._noted: set[str] = set()
        for key, body in table.list(KIND).items():
            try:
                self._hold(_record(key, body))
            except msgspec.ValidationError as error:  # a step is done again, and what was kept of it collected
                log.warning("the record of cached step %s cannot be read, and is removed: %s", key, error)
                table.delete(KIND, key)

    def _hold(self, record: Record) -> None:
        self._records[record.key] = record
        self._by_content.setdefault((record.parent, record.layer.content), record.key)
        self._sums.update(record.sums or {})

    def __len__(self) -> int:
        return len(self._records)

    def all(self) -> list[Record]:
        return list(self._records.values())

    def blobs(self) -> set[str]:
        """Digests of the layers that are kept."""
        return {record.layer.blob.digest for record in self._records.values() if record.layer.blob is not None}

    def trees(self) -> set[str]:
        """Names of the trees that are kept."""
        return {record.layer.tree for record in self._records.values() if record.layer.tree}

    def find(self, key: str, parent: str, here: Callable[[Layer], bool]) -> Record | None:
        """The record of a step, on this parent. One whose layer was lost counts as absent."""
        record = self._records.get(key)
        if record is None or record.parent != parent or not here(record.layer):
            return None
        self._note(record)
        return record

    def same(self, parent: str, layer: Layer, here: Callable[[Layer], bool]) -> Layer:
        """A layer of equal content that was recorded on this parent; `layer` when there is none."""
        known = self._records.get(self._by_content.get((parent, layer.content), ""))
        return known.layer if known is not None and here(known.layer) else layer

    def sum(self, source: str) -> str | None:
        """The checksum of a source in a tree that never changes, when some record has it."""
        return self._sums.get(source)

    def put(self, key: str, parent: str, depth: int, layer: Layer, description: str, sums: Sums) -> Record:
        """Durable when it returns. The layer and its tree are leased by the caller meanwhile."""
        now = time.time()
        record = Record(key, parent, depth, layer, description, now, now, 1, dict(sums))
        self._table.put(KIND, key, _body(record))
        if (old := self._records.get(key)) is not None:
            self._forget(old)
        self._hold(record)
        return record

    def _note(self, record: Record) -> None:
        record.used, record.count = time.time(), record.count + 1
        self._noted.add(record.key)

    def flush(self) -> None:
        """Write down when records were used last; after each build."""
        noted, self._noted = self._noted, set()
        try:
            for key in noted:
                if (record := self._records.get(key)) is not None:
                    self._table.put(KIND, key, _body(record))
        except CortenError as error:  # a full disk, say: they are known here still
            self._noted |= noted
            log.warning("the times of %d cache records' last uses were not written: %s", len(noted), error)

    def remove(self, keys: Iterable[str]) -> None:
        """Forget these; what they kept is for the collector."""
        for key in keys:
            if (record := self._records.pop(key, None)) is not None:
                self._table.delete(KIND, key)
                self._forget(record)

    def _forget(self, record: Record) -> None:
        at = (record.parent, record.layer.content)
        if self._by_content.get(at) == record.key:
            del self._by_content[at]
        for source in record.sums or ():
            self._sums.pop(source, None)


class Used(Protocol):
    """What the policy looks at of a thing: when it was used, seconds since the epoch, and how many are below it."""

    @property
    def used(self) -> float: ...

    @property
    def depth(self) -> int: ...


U = TypeVar("U", bound=Used)


def chosen(found: Collection[U], size: Callable[[U], int], most: int, other: int = 0) -> list[U]:
    """What is to go of these: what was used longest ago, until the rest, and `other` bytes that stay, are `most` (0:
    nothing stays). Children go before their parents, whose trees they need."""
    ordered = sorted(found, key=lambda each: (each.used, -each.depth))
    total, gone = other + sum(map(size, found)), []
    for each in ordered:
        if not most or total > most:
            total -= size(each)
            gone.append(each)
    return gone


class _Stored(msgspec.Struct):
    """What `_body` makes."""

    parent: str
    depth: int
    diff_id: str
    tree: str
    content: str
    size: int
    blob: Recorded | None
    description: str
    created: float
    used: float
    count: int
    sums: dict[str, str]


def _body(record: Record) -> Json:
    layer, blob = record.layer, record.layer.blob
    return {
        "parent": record.parent,
        "depth": record.depth,
        "diff_id": layer.diff_id,
        "tree": layer.tree,
        "content": layer.content,
        "size": layer.size,
        "blob": blob.to_json() if blob is not None else None,
        "description": record.description,
        "created": record.created,
        "used": record.used,
        "count": record.count,
        "sums": dict(record.sums or {}),
    }


def _record(key: str, body: Mapping[str, Any]) -> Record:
    from corten.build.contract import Layer  # a daemon that has never built does not carry it

    found = msgspec.convert(body, _Stored)
    blob = found.blob.descriptor() if found.blob is not None else None
    layer = Layer(found.diff_id, found.tree, found.content, found.size, blob)
    times = (found.created, found.used, found.count)
    return Record(key, found.parent, found.depth, layer, found.description, *times, found.sums)
