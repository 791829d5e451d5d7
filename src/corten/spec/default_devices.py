"""The devices that a container may open unless more is asked for: linux.resources.devices as Docker writes it."""

from __future__ import annotations

from corten.spec.json import Json


def allow(kind: str, major: int, minor: int) -> Json:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"}


#: Deny everything, then null, zero, full, random, urandom, tty, console; fuse is refused even to images that ask.
RULES: tuple[Json, ...] = (
    {"allow": False, "access": "rwm"},
    allow("c", 1, 5),
    allow("c", 1, 3),
    allow("c", 1, 9),
    allow("c", 1, 8),
    allow("c", 5, 0),
    allow("c", 5, 1),
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
)
