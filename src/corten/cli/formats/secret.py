"""The rows of `secret ls`."""

from __future__ import annotations

import time

from corten.cli.formats.container import labels_text
from corten.cli.formats.listing import Shape
from corten.cli.times import utc
from corten.units.durations import human_duration

COLUMNS = ("ID", "Name", "CreatedAt")

SECRET = Shape(
    "secretContext",
    {
        "ID": lambda row: row.data["ID"],
        "Name": lambda row: row.data["Name"],
        "CreatedAt": lambda row: human_duration(time.time() - utc(row.data["CreatedAt"])) + " ago",
        "Labels": lambda row: labels_text(row.data.get("Labels")),
    },
    {"ID": "ID", "Name": "NAME", "CreatedAt": "CREATED", "Labels": "LABELS"},
    {"Label": lambda row, name: (row.data.get("Labels") or {}).get(name, "")},
)
