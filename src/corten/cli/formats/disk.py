"""`system df`: what images, containers, volumes and the build cache take, and what could be had back."""

from __future__ import annotations

import time

from corten.cli.columns import align
from corten.cli.formats import container, image
from corten.cli.formats.listing import Row, Shape, short_id
from corten.units.durations import human_duration
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.client.api import Json

COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
HEADERS = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
CACHE_HEADER = "CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED"
# A container in one of these states needs its image and its layer.
RUNNING = ("running", "paused", "restarting")


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row.data[name]


USAGE = Shape(
    "diskUsageContext",
    {name: _field(name) for name in COLUMNS},
    dict(zip(COLUMNS, HEADERS, strict=True)),
)


def rows(usage: Json) -> list[Row]:
    found = [_images(usage), _containers(usage), _volumes(usage), _cache(usage)]
    return [Row(USAGE, dict(zip(COLUMNS, one, strict=True))) for one in found]


def _row(kind: str, total: int, active: int, size: int, free: int, percent: bool = True) -> tuple[str, ...]:
    share = f" ({int(free / size * 100)}%)" if size > 0 and percent else ""
    return kind, str(total), str(active), human_size(size), human_size(free) + share


def _images(usage: Json) -> tuple[str, ...]:
    images = usage.get("Images") or []
    size = usage.get("LayersSize") or 0
    used = sum(
        one["Size"] - max(one.get("SharedSize") or 0, 0)
        for one in images
        if one.get("Containers", 0) != 0 and one.get("Size", -1) != -1 and one.get("SharedSize", -1) != -1
    )
    active = sum(1 for one in images if (one.get("Containers") or 0) > 0)
    return _row("Images", len(images), active, size, size - used)


def _containers(usage: Json) -> tuple[str, ...]:
    found = usage.get("Containers") or []
    running = [one for one in found if one.get("State") in RUNNING]
    size = sum(one.get("SizeRw") or 0 for one in found)
    free = size - sum(one.get("SizeRw") or 0 for one in running)
    return _row("Containers", len(found), len(running), size, free)


def _volumes(usage: Json) -> tuple[str, ...]:
    found = usage.get("Volumes") or []
    data = [one.get("UsageData") or {"Size": -1, "RefCount": 0} for one in found]
    size = sum(one["Size"] for one in data if one["Size"] != -1)
    free = sum(one["Size"] for one in data if one["Size"] != -1 and one.get("RefCount") == 0)
    active = sum(1 for one in data if (one.get("RefCount") or 0) > 0)
    return _row("Local Volumes", len(found), active, size, free)


def _cache(usage: Json) -> tuple[str, ...]:
    found = usage.get("BuildCache") or []
    size = usage.get("BuilderSize") or sum(one.get("Size") or 0 for one in found if not one.get("Shared"))
    used = sum(one.get("Size") or 0 for one in found if one.get("InUse") and not one.get("Shared"))
    active = sum(1 for one in found if one.get("InUse"))
    return _row("Build Cache", len(found), active, size, size - used, percent=False)


def details(usage: Json) -> str:
    """The tables of --verbose."""
    volumes = [
        f"{one['Name']}\t{data.get('RefCount', 0)}\t{human_size(data.get('Size') or 0)}"
        for one in usage.get("Volumes") or ()
        if (data := one.get("UsageData") or {}) is not None
    ]
    cache = _cache(usage)[3]
    sections = [
        ("Images space usage:", _image_table(usage)),
        ("Containers space usage:", _container_table(usage)),
        ("Local Volumes space usage:", align("\n".join(["VOLUME NAME\tLINKS\tSIZE", *volumes]))),
        (f"Build cache usage: {cache}", _cache_table(usage)),
    ]
    return "\n\n".join(f"{title}\n\n{text}" for title, text in sections)


def _image_table(usage: Json) -> str:
    lines = ["REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE\tSHARED SIZE\tUNIQUE SIZE\tCONTAINERS"]
    for one in usage.get("Images") or ():
        size, shared = one.get("Size") or 0, max(one.get("SharedSize") or 0, 0)
        for row in list(image.rows(one, full=False, digests=False))[:1]:
            lines.append(
                f"{row['Repository']}\t{row['Tag']}\t{row['ID']}\t{row['CreatedSince']}\t{row['Size']}"
                f"\t{human_size(shared)}\t{human_size(size - shared)}\t{max(one.get('Containers') or 0, 0)}"
            )
    return align("\n".join(lines))


def _container_table(usage: Json) -> str:
    names = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    lines = ["\t".join(container.CONTAINER.headers[name] for name in names)]
    for one in usage.get("Containers") or ():
        # The root file system is counted with the images.
        row = Row(container.CONTAINER, {**one, "SizeRootFs": 0})
        lines.append("\t".join(str(row[name]) for name in names))
    return align("\n".join(lines))


def _cache_table(usage: Json) -> str:
    lines = [CACHE_HEADER]
    for one in usage.get("BuildCache") or ():
        created, used = (_ago(one.get(field)) for field in ("CreatedAt", "LastUsedAt"))
        shared = "true" if one.get("Shared") else "false"
        size, count = human_size(one.get("Size") or 0, 3), str(one.get("UsageCount", 0))
        lines.append("\t".join((short_id(one["ID"]), one.get("Type", ""), size, created, used, count, shared)))
    return align("\n".join(lines))


def _ago(moment: str | None) -> str:
    if not moment:
        return ""
    from corten.cli.times import parse_moment

    try:
        seconds, _ = parse_moment(moment)
    except ValueError:
        return moment
    return human_duration(time.time() - seconds) + " ago"
