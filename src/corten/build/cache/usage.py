"""The build cache as Docker's API shows it, and what its filters choose."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from corten.build.cache.cache import Record
from corten.build.trees import GIT, LOCAL, KeptTree
from corten.build.work.caches import CacheDirectory
from corten.errors import Invalid
from corten.images.store import ImageStore
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.units.durations import SECOND, parse_age

AGES = ("until", "unused-for")  # filters by how long ago something was used
_OF_TREES = {LOCAL: "local source", GIT: "git repository"}
MOUNT = "exec.cachemount"  # the type of a cache mount
# `system prune --filter label=X` asks here as well: nothing of the cache has a label.
KEYS = frozenset(
    {"until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private", "label", "label!"}
)


@dataclass(frozen=True, slots=True)
class CacheRow:
    """One thing that the cache has. `used` and `created` are seconds since the epoch; `parent` is the row whose tree it
    lies on, "" for none that there is. `shared`: an image has it as well; `in_use`: a build under way needs it."""

    id: str
    type: str
    description: str
    size: int
    created: float
    used: float
    parent: str = ""
    in_use: bool = False
    shared: bool = False
    count: int = 1

    def to_json(self) -> Json:
        """As Docker's API has it."""
        return {
            "ID": self.id,
            "Parents": [self.parent] if self.parent else None,
            "Type": self.type,
            "Description": self.description,
            "InUse": self.in_use,
            "Shared": self.shared,
            "Size": self.size,
            "CreatedAt": times.of_seconds(self.created),
            "LastUsedAt": times.of_seconds(self.used),
            "UsageCount": self.count,
        }


def id_of(record: Record) -> str:
    """Its id in Docker's rows."""
    return record.key.removeprefix("sha256:")[:25]


def of_records(records: Collection[Record], store: ImageStore) -> list[CacheRow]:
    """Newest use first. Of one without a layer that is shared which it has left as it was."""
    shared = {name for image in store.records.all() for name in image.chain}
    leased = store.leases.held("snapshot", {record.layer.tree for record in records})
    sizes = store.trees.tree_store.shares(record.layer.tree for record in records)
    ids = {record.layer.tree: id_of(record) for record in records if record.layer.tree}
    return [
        CacheRow(
            id_of(record),
            "regular",
            record.description,
            sizes.get(record.layer.tree, record.layer.size),
            record.created,
            record.used,
            parent=ids.get(record.parent, ""),
            in_use=record.layer.tree in leased,
            shared=record.tree in shared,
            count=record.count,
        )
        for record in sorted(records, key=lambda record: -record.used)
    ]


def of_mount(directory: CacheDirectory) -> CacheRow:
    """When it was made is in no record: it is said when it was used."""
    id = directory.name.replace("/", "")[:25] + directory.name.partition("/")[2]
    used = directory.used
    return CacheRow(id, MOUNT, f"cached mount {directory.id}", directory.bytes, used, used, in_use=directory.in_use)


def of_tree(tree: KeptTree) -> CacheRow:
    """The same of a client's directory, or of what is kept of a repository."""
    return CacheRow(tree.key[:25], tree.type, _OF_TREES[tree.type], tree.size, tree.used, tree.used, in_use=tree.in_use)


def of_history(bytes: int, created: float, used: float) -> CacheRow:
    """The history of builds, which is removed record by record, and not by a prune."""
    return CacheRow("history", "internal", "history of builds", bytes, created, used, in_use=True)


def check(filters: Filters) -> None:
    """Raises Invalid for an unknown filter, and for an age that is none."""
    filters.check(KEYS)
    for key in AGES:
        for age in filters.get(key, ()):
            _nanoseconds(key, age)


def select(rows: Iterable[CacheRow], filters: Filters) -> list[CacheRow]:
    """Those that all filters choose. Raises what `check` does, also when there is nothing to choose from."""
    check(filters)
    return [row for row in rows if all(_fits(row, key, values) for key, values in filters.items())]


def _nanoseconds(key: str, age: str) -> int:
    try:
        return parse_age(age)
    except ValueError as error:
        raise Invalid(f"invalid filter {key}={age[:100]}: {error}") from None


def _fits(row: CacheRow, key: str, values: Iterable[str]) -> bool:
    match key:
        case "until" | "unused-for":
            return all((time.time() - row.used) * SECOND >= _nanoseconds(key, age) for age in values)
        case "id":
            return any(row.id.startswith(value) for value in values)
        case "parent":
            return bool(row.parent) and row.parent in values
        case "label!":
            return True
        case "type":
            return row.type in values
        case "description":
            return any(value in row.description for value in values)
        case "inuse" | "shared" | "private":
            actual = {"inuse": row.in_use, "shared": row.shared, "private": not row.shared}[key]
            return all(actual is _truth(key, value) for value in values)
    return False


def _truth(key: str, value: str) -> bool:
    if value.lower() in ("1", "t", "true", ""):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise Invalid(f"invalid filter '{key}={value[:100]}'")
