"""The rows of `pod ls`."""

from __future__ import annotations

import time

from corten.cli.formats.container import labels_text
from corten.cli.formats.listing import Row, Shape, short_id
from corten.units.durations import human_duration

COLUMNS = ("ID", "Name", "Namespace", "State", "RunningFor", "Address")
_STATES = ("Ready", "NotReady")


def _metadata(row: Row, key: str) -> str:
    return str((row.data.get("metadata") or {}).get(key) or "")


def _age(row: Row) -> str:
    return human_duration(time.time() - int(row.data["created_at"]) / 1_000_000_000) + " ago"


POD = Shape(
    "podContext",
    {
        "ID": lambda row: short_id(row.data["id"]),
        "Name": lambda row: _metadata(row, "name"),
        "Namespace": lambda row: _metadata(row, "namespace"),
        "UID": lambda row: _metadata(row, "uid"),
        "State": lambda row: _STATES[bool(row.data.get("state"))],
        "RunningFor": _age,
        "Address": lambda row: str((row.data.get("network") or {}).get("ip") or ""),
        "Labels": lambda row: labels_text(row.data.get("labels")),
    },
    {
        "ID": "POD ID",
        "Name": "NAME",
        "Namespace": "NAMESPACE",
        "UID": "UID",
        "State": "STATE",
        "RunningFor": "CREATED",
        "Address": "ADDRESS",
        "Labels": "LABELS",
    },
    {"Label": lambda row, name: (row.data.get("labels") or {}).get(name, "")},
)
