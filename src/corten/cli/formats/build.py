"""The rows of `builder history ls`."""

from __future__ import annotations

import time

from corten.cli.formats.listing import Row, Shape
from corten.cli.times import parse_moment
from corten.units.durations import human_duration

COLUMNS = ("Ref", "Name", "Status", "Steps", "Created", "Duration")
_SHORT = 12


def _moment(text: str) -> float:
    seconds, nanoseconds = parse_moment(text)
    return seconds + nanoseconds / 1e9


def _duration(row: Row) -> str:
    began, ended = _moment(row.data["CreatedAt"]), row.data["CompletedAt"]
    return f"{(_moment(ended) if ended else time.time()) - began:.1f}s"


def _name(row: Row) -> str:
    """What it made, or what it was asked to."""
    attributes = row.data["Attributes"]
    named = (row.data["Answer"].get("image.name") or "").partition(",")[0]
    return named or attributes.get("target") or attributes.get("filename") or "Dockerfile"


def _steps(row: Row) -> str:
    steps = row.data["Steps"]
    return f"{steps['Completed']}/{steps['Total']} ({steps['Cached']} cached)"


BUILD = Shape(
    "buildContext",
    {
        "Ref": lambda row: row.data["Ref"] if row.full else row.data["Ref"][:_SHORT],
        "Name": _name,
        "Status": lambda row: row.data["State"],
        "Steps": _steps,
        "Created": lambda row: human_duration(time.time() - _moment(row.data["CreatedAt"])) + " ago",
        "Duration": _duration,
        "Error": lambda row: row.data["Error"],
    },
    {
        "Ref": "REF",
        "Name": "NAME",
        "Status": "STATUS",
        "Steps": "STEPS",
        "Created": "CREATED",
        "Duration": "DURATION",
        "Error": "ERROR",
    },
)
