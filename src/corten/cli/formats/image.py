"""The rows of `images`: one for each name of an image."""

from __future__ import annotations

import time

from corten.cli.formats.listing import Row, Shape, short_id
from corten.cli.times import go_time
from corten.units.durations import human_duration
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.client.api import Json

NONE = "<none>"
COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
DIGEST_COLUMNS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def _id(row: Row) -> str:
    identity: str = row.data["Id"]
    return identity if row.full else short_id(identity)


def _created_since(row: Row) -> str:
    created = row.data.get("Created") or 0
    return human_duration(time.time() - created) + " ago" if created > 0 else "N/A"


def _unknown_or_size(name: str) -> Any:
    def field(row: Row) -> str:
        value = row.data.get(name, -1)
        return "N/A" if value is None or value == -1 else human_size(value, 3)

    return field


def _unique(row: Row) -> str:
    size, shared = row.data.get("Size") or 0, row.data.get("SharedSize", -1)
    return "N/A" if shared in (-1, None) else human_size(size - shared, 3)


IMAGE = Shape(
    "imageContext",
    {
        "ID": _id,
        "Repository": lambda row: row.extra["repository"],
        "Tag": lambda row: row.extra["tag"],
        "Digest": lambda row: row.extra["digest"],
        "CreatedSince": _created_since,
        "CreatedAt": lambda row: go_time(row.data.get("Created") or 0),
        "Size": lambda row: human_size(row.data.get("Size") or 0, 3),
        "Containers": lambda row: "N/A" if row.data.get("Containers", -1) == -1 else str(row.data["Containers"]),
        "VirtualSize": lambda row: human_size(row.data.get("VirtualSize") or row.data.get("Size") or 0),
        "SharedSize": _unknown_or_size("SharedSize"),
        "UniqueSize": _unique,
    },
    {
        "ID": "IMAGE ID",
        "Repository": "REPOSITORY",
        "Tag": "TAG",
        "Digest": "DIGEST",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Containers": "CONTAINERS",
        "VirtualSize": "SIZE",
        "SharedSize": "SHARED SIZE",
        "UniqueSize": "UNIQUE SIZE",
    },
)


def familiar(name: str) -> str:
    """docker.io/library/busybox is called busybox."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def rows(image: Json, full: bool, digests: bool) -> Iterator[Row]:
    """A row for each tag (and digest, when asked for); one of <none> for an image without a name."""
    tags, by_digest = _by_repository(image.get("RepoTags"), ":"), _by_repository(image.get("RepoDigests"), "@")
    if not tags and not by_digest:
        yield _row(image, full, NONE, NONE, NONE)
    for repository, names in tags.items():
        found = by_digest.pop(repository, [])
        for tag in names:
            for digest in (digests and found) or [NONE]:
                yield _row(image, full, repository, tag, digest)
    for repository, found in by_digest.items():
        for digest in found if digests else [NONE]:
            yield _row(image, full, repository, NONE, digest)


def _by_repository(references: list[str] | None, separator: str) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for reference in references or ():
        repository, _, name = reference.rpartition(separator)
        if repository != NONE:
            grouped.setdefault(familiar(repository), []).append(name)
    return grouped


def _row(image: Json, full: bool, repository: str, tag: str, digest: str) -> Row:
    return Row(IMAGE, image, full, {"repository": repository, "tag": tag, "digest": digest})
