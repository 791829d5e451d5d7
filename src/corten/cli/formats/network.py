"""The rows of `network ls`."""

from __future__ import annotations

from corten.cli.formats.container import labels_text
from corten.cli.formats.listing import Row, Shape, short_id
from corten.cli.times import go_moment

COLUMNS = ("ID", "Name", "Driver", "Scope")


def _boolean(row: Row, field: str) -> str:
    return "true" if row.data.get(field) else "false"


NETWORK = Shape(
    "networkContext",
    {
        "ID": lambda row: row.data["Id"] if row.full else short_id(row.data["Id"]),
        "Name": lambda row: row.data["Name"],
        "Driver": lambda row: row.data.get("Driver") or "",
        "Scope": lambda row: row.data.get("Scope") or "",
        "IPv4": lambda row: _boolean(row, "EnableIPv4"),
        "IPv6": lambda row: _boolean(row, "EnableIPv6"),
        "Internal": lambda row: _boolean(row, "Internal"),
        "Labels": lambda row: labels_text(row.data.get("Labels")),
        "CreatedAt": lambda row: go_moment(row.data.get("Created") or ""),
    },
    {
        "ID": "NETWORK ID",
        "Name": "NAME",
        "Driver": "DRIVER",
        "Scope": "SCOPE",
        "IPv4": "IPV4",
        "IPv6": "IPV6",
        "Internal": "INTERNAL",
        "Labels": "LABELS",
        "CreatedAt": "CREATED AT",
    },
    {"Label": lambda row, name: (row.data.get("Labels") or {}).get(name, "")},
)
