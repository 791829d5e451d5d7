"""The rows of `volume ls`."""

from __future__ import annotations

from corten.cli.formats.container import labels_text
from corten.cli.formats.listing import Row, Shape
from corten.units.sizes import human_size

COLUMNS = ("Driver", "Name")
UNKNOWN = "N/A"


def _links(row: Row) -> str:
    usage = row.data.get("UsageData")
    return UNKNOWN if not usage else str(usage.get("RefCount", 0))


def _size(row: Row) -> str:
    usage = row.data.get("UsageData")
    return UNKNOWN if not usage else human_size(usage.get("Size") or 0)


VOLUME = Shape(
    "volumeContext",
    {
        "Name": lambda row: row.data["Name"],
        "Driver": lambda row: row.data.get("Driver") or "",
        "Scope": lambda row: row.data.get("Scope") or "",
        "Mountpoint": lambda row: row.data.get("Mountpoint") or "",
        "Labels": lambda row: labels_text(row.data.get("Labels")),
        "Links": _links,
        "Size": _size,
        "Availability": lambda _row: UNKNOWN,
        "Group": lambda _row: UNKNOWN,
        "Status": lambda _row: UNKNOWN,
    },
    {
        "Name": "VOLUME NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "Mountpoint": "MOUNTPOINT",
        "Labels": "LABELS",
        "Links": "LINKS",
        "Size": "SIZE",
        "Availability": "AVAILABILITY",
        "Group": "GROUP",
        "Status": "STATUS",
    },
    {"Label": lambda row, name: (row.data.get("Labels") or {}).get(name, "")},
)
