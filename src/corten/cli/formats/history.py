"""The rows of `history`."""

from __future__ import annotations

import time

from corten.cli.formats.listing import Row, Shape, ellipsis, short_id
from corten.units.durations import human_duration
from corten.units.sizes import human_size

COLUMNS = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
MACHINE_COLUMNS = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")
CREATED_BY_WIDTH = 45


def _created_at(row: Row) -> str:
    moment = time.localtime(row.data["Created"])
    zone = time.strftime("%z", moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


def _created_since(row: Row) -> str:
    created: int = row.data.get("Created") or 0
    if not row.extra["human"]:
        return _created_at(row)
    return human_duration(time.time() - created) + " ago" if created > 0 else "N/A"


def _created_by(row: Row) -> str:
    text = (row.data.get("CreatedBy") or "").replace("\t", " ")
    return text if row.full else ellipsis(text, CREATED_BY_WIDTH)


def _size(row: Row) -> str:
    size = row.data.get("Size") or 0
    return human_size(size, 3) if row.extra["human"] else str(size)


HISTORY = Shape(
    "historyContext",
    {
        "ID": lambda row: row.data["Id"] if row.full else short_id(row.data["Id"]),
        "CreatedSince": _created_since,
        "CreatedAt": _created_at,
        "CreatedBy": _created_by,
        "Size": _size,
        "Comment": lambda row: row.data.get("Comment") or "",
    },
    {
        "ID": "IMAGE",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
    },
)
