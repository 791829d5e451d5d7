"""The build cache as Docker's API shows it, and what its filters choose."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from corten.build.cache import Record
from corten.build.trees import KeptTree
from corten.build.work.caches import CacheDirectory
from corten.errors import Invalid
from corten.images.store import ImageStore
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.units.durations import SECOND, parse_age

# `system prune --filter label=X` asks here as well: nothing of the cache has a label.
KEYS = frozenset(
    {"until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private", "label", "label!"}
)


def id_of(record: Record) -> str:
    """Its id in Docker's rows."""
    return record.key.removeprefix("sha256:")[:25]


def rows(records: Collection[Record], store: ImageStore) -> list[Json]:
    """Newest use first. `Shared`: an image has its layer, or what a step without
    one has left as it was. `InUse`: a build under way needs it."""
    shared = {name for image in store.records.all() for name in image.chain}
    leased = store.leases.held("snapshot", {record.layer.tree for record in records})
    parents = {record.layer.tree: id_of(record) for record in records if record.layer.tree}
    return [
        {
            "ID": id_of(record),
            "Parents": [parents[record.parent]] if record.parent in parents else None,
            "Type": "regular",
            "Description": record.description,
            "InUse": record.layer.tree in leased,
            "Shared": record.tree in shared,
            "Size": record.layer.size,
            "CreatedAt": times.of_seconds(record.created),
            "LastUsedAt": times.of_seconds(record.used),
            "UsageCount": record.count,
        }
        for record in sorted(records, key=lambda record: -record.used)
    ]


def mounts(directories: Iterable[CacheDirectory]) -> list[Json]:
    """The same for directories of cache mounts."""
    return [
        _row(id_of_mount(each), "exec.cachemount", f"cached mount {each.id}", each.in_use, each.bytes, each.used)
        for each in directories
    ]


def trees(kept: Iterable[KeptTree]) -> list[Json]:
    """The same for clients' directories that are kept."""
    return [_row(id_of_tree(each), "source.local", "local source", each.in_use, each.size, each.used) for each in kept]


def id_of_tree(tree: KeptTree) -> str:
    return tree.key[:25]


def _row(id: str, kind: str, description: str, in_use: bool, size: int, used: float) -> Json:
    """Of what is in no record: when it was made is not known, and it is said when it was used."""
    last = times.of_seconds(used)
    return {
        "ID": id,
        "Parents": None,
        "Type": kind,
        "Description": description,
        "InUse": in_use,
        "Shared": False,
        "Size": size,
        "CreatedAt": last,
        "LastUsedAt": last,
        "UsageCount": 1,
    }


def history(bytes: int, created: float, used: float) -> Json:
    """The same for the history of builds, which is removed record by record, and not by a prune."""
    return {
        "ID": "history",
        "Parents": None,
        "Type": "internal",
        "Description": "history of builds",
        "InUse": True,
        "Shared": False,
        "Size": bytes,
        "CreatedAt": times.of_seconds(created),
        "LastUsedAt": times.of_seconds(used),
        "UsageCount": 1,
    }


def id_of_mount(directory: CacheDirectory) -> str:
    return directory.name.replace("/", "")[:25] + directory.name.partition("/")[2]


def select(rows: Iterable[Json], filters: Filters) -> set[str]:
    """Ids of the rows that all filters choose. Raises Invalid for an unknown one."""
    filters.check(KEYS)
    return {row["ID"] for row in rows if all(_fits(row, key, values) for key, values in filters.items())}


def _fits(row: Json, key: str, values: Iterable[str]) -> bool:
    match key:
        case "until" | "unused-for":
            return all(time.time() * SECOND - times.parse_time(row["LastUsedAt"]) >= parse_age(age) for age in values)
        case "id":
            return any(row["ID"].startswith(value) for value in values)
        case "parent":
            return any(value in (row["Parents"] or ()) for value in values)
        case "label!":
            return True
        case "type":
            return row["Type"] in values
        case "description":
            return any(value in row["Description"] for value in values)
        case "inuse" | "shared" | "private":
            actual = {"inuse": row["InUse"], "shared": row["Shared"], "private": not row["Shared"]}[key]
            return all(actual is _truth(key, value) for value in values)
    return False


def _truth(key: str, value: str) -> bool:
    if value.lower() in ("1", "t", "true", ""):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise Invalid(f"invalid filter '{key}={value[:100]}'")
