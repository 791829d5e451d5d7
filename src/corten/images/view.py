"""Images as Docker's API shows them: list, inspect, history. Shapes of API 1.50; older ones are the api room's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from corten.errors import Invalid
from corten.images.name_patterns import named_like
from corten.spec.docker import times
from corten.spec.docker.config import Config
from corten.spec.docker.filters import Filters
from corten.spec.image_config import History, ImageConfig
from corten.spec.json import Json
from corten.spec.reference import parse
from corten.store.images import ImageRecord
from corten.units.durations import SECOND

FILTERS = ("before", "dangling", "label", "label!", "reference", "since", "until")


def familiar(name: str) -> str:
    """A canonical name in its short form."""
    return parse(name).familiar


def summary(
    record: ImageRecord, tags: Iterable[str], digests: Iterable[str], shared: int = -1, parent: str = ""
) -> Json:
    """One row of the list. `shared` is bytes in layers that other images have too, -1 when it was not computed;
    `parent` the id of the image that it was committed on, "" when that is not here."""
    return {
        "Containers": -1,
        "Created": seconds(record.created),
        "Id": record.id,
        "Labels": record.config.config.get("Labels"),
        "ParentId": parent,
        "RepoDigests": [familiar(name) for name in digests],
        "RepoTags": [familiar(name) for name in tags],
        "SharedSize": shared,
        "Size": record.size,
    }


def details(record: ImageRecord, tags: Iterable[str], digests: Iterable[str], driver: Json, parent: str = "") -> Json:
    """The answer to inspect, with what older versions have of the container that an image was made of. `driver` is
    GraphDriver; `parent` as in `summary`."""
    config = record.config
    shown: Json = {
        "Id": record.id,
        "RepoTags": [familiar(name) for name in tags],
        "RepoDigests": [familiar(name) for name in digests],
        "Parent": parent,
        "Comment": _comment(config),
        "Created": record.created,
        "Container": config.container,
        "ContainerConfig": config.container_config,
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Config": {**Config().to_json(), **config.config},
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": record.size,
        "GraphDriver": driver,
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
        "Metadata": {"LastTagTime": datetime.fromtimestamp(record.added).astimezone().isoformat()},
    }
    if config.variant:
        shown["Variant"] = config.variant
    if config.os_version:
        shown["OsVersion"] = config.os_version
    return shown


def _comment(config: ImageConfig) -> str:
    return config.comment or (config.history[-1].comment if config.history else "")


def history(record: ImageRecord, tags: Iterable[str], sizes: Mapping[str, int]) -> list[Json]:
    """Newest first. `sizes` is bytes by chain id. An image without history has one line for each layer."""
    chain = list(record.chain)
    entries = record.config.history or [History()] * len(chain)
    rows: list[Json] = []
    for entry in entries:
        empty = entry.empty_layer or not chain
        rows.append(
            {
                "Id": "<missing>",
                "Created": seconds(entry.created),
                "CreatedBy": entry.created_by,
                "Tags": None,
                "Size": 0 if empty else sizes.get(chain[0], 0),
                "Comment": entry.comment,
            }
        )
        if not empty:
            chain.pop(0)
    rows.reverse()
    if rows:
        rows[0].update(Id=record.id, Tags=[familiar(name) for name in tags] or None)
    return rows


def seconds(text: str) -> int:
    return nanoseconds(text) // SECOND


def nanoseconds(text: str) -> int:
    """RFC 3339 to nanoseconds since the epoch; 0 for what is no time (it is the image's own claim)."""
    try:
        return times.parse_time(text) if text[:1].isdigit() and "-" in text else 0
    except Invalid:
        return 0


def select(
    rows: Iterable[tuple[ImageRecord, list[str], list[str]]], filters: Filters, created: Mapping[str, int]
) -> list[tuple[ImageRecord, list[str], list[str]]]:
    """The rows that all filters let through. `created` is the creation time, in nanoseconds, of the images that before
    and since name.

    A `reference` filter also removes the names that do not match, as Docker does. What has a digest and no tag is
    dangling, and is not what `dangling=false` leaves out: prune takes it, lists show it.
    """
    filters.check(FILTERS)
    dangling = filters.flag("dangling") if "dangling" in filters else None
    named = named_like(filters["reference"]) if "reference" in filters else None
    kept = []
    for record, tags, digests in rows:
        labels = record.config.labels
        at = nanoseconds(record.created)
        if not filters.match_labels("label", labels) or filters.excludes_labels("label!", labels):
            continue
        if any(at >= created[name] for name in filters.get("before", ())):
            continue
        if any(at <= created[name] for name in filters.get("since", ())):
            continue
        if any(at >= _until(value) for value in filters.get("until", ())):
            continue
        if dangling is not None and (tags if dangling else not tags and not digests):
            continue
        if named is not None:
            tags = [name for name in tags if named(name)]
            digests = [name for name in digests if named(name)]
            if not tags and not digests:
                continue
        kept.append((record, tags, digests))
    return kept


def _until(text: str) -> int:
    try:
        return times.parse_time(text)
    except Invalid as error:
        raise Invalid(f'failed to parse value as time or duration: "{text}"') from error
