"""Which images may go by themselves: the policy of daemon.json's "image-gc", and what it comes to for a given store.

    {"image-gc": {"keep-images": 10, "keep-bytes": "5g", "max-age": "720h", "free-space": "10%"}}

keep-images, keep-bytes   so many images, so many bytes of them stay in any case: those that were used last
max-age                   what was not used for longer goes
free-space                while less of the disk is free (bytes, or percent of it), what was not used longest goes,
                          but nothing that was used in the last ten minutes

What containers use, running or stopped, and what work in flight needs never goes. Without max-age and free-space no
image does.

Functions of numbers only, which decide and do nothing: `gc` counts what there is, calls `decide`, and removes
the images that it names; `collect` then erases the blobs and trees that these had to themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from corten.errors import Invalid
from corten.spec.json import Json
from corten.units.durations import SECOND, parse_age
from corten.units.sizes import parse_bytes

_GRACE = 600.0  # seconds that what was just used stays, however little space there is: it is about to be run
_KEYS = ("keep-images", "keep-bytes", "max-age", "free-space")
_PERCENT = re.compile(r"(\d{1,2}(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class Policy:
    """`max_age` in seconds; of the free space either `free_bytes` or `free_percent` is set, or neither."""

    keep_images: int = 0
    keep_bytes: int = 0
    max_age: float = 0
    free_bytes: int = 0
    free_percent: float = 0

    @property
    def active(self) -> bool:
        return bool(self.max_age or self.free_bytes or self.free_percent)

    def wanted(self, disk: int) -> int:
        """Bytes that ought to be free on a disk of so many."""
        return self.free_bytes or int(disk * self.free_percent / 100)

    def shown(self) -> Json:
        return {
            "KeepImages": self.keep_images,
            "KeepBytes": self.keep_bytes,
            "MaxAge": self.max_age,
            "FreeBytes": self.free_bytes,
            "FreePercent": self.free_percent,
        }


def parse(section: Mapping[str, Any], base: Policy | None = None) -> Policy:
    """The policy of a section, or `base` with what the section changes.

    Raises Invalid with the key's name for a bad key or value.
    """
    policy = base or Policy()
    if unknown := sorted(set(section) - set(_KEYS)):
        raise Invalid(f"image-gc: unknown keys: {', '.join(unknown)}")
    for key, value in section.items():
        try:
            policy = _with(policy, key, str(value).strip())
        except ValueError:
            raise Invalid(f"image-gc: {key} cannot be {value!r}") from None
    return policy


def _with(policy: Policy, key: str, value: str) -> Policy:
    match key:
        case "keep-images":
            if not re.fullmatch(r"\d{1,9}", value):
                raise ValueError
            return replace(policy, keep_images=int(value))
        case "keep-bytes":
            return replace(policy, keep_bytes=parse_bytes(value))
        case "max-age":
            return replace(policy, max_age=parse_age(value) / SECOND)
    if found := _PERCENT.fullmatch(value):
        return replace(policy, free_bytes=0, free_percent=float(found[1]))
    return replace(policy, free_bytes=parse_bytes(value), free_percent=0)


@dataclass(frozen=True, slots=True)
class Holding:
    """One image: the blobs and trees it has, by name; when it was used last (seconds since the epoch); what keeps it
    ("" when nothing does)."""

    id: str
    parts: frozenset[str]
    used: float
    kept_by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`bytes` are what its removal frees, after the removals before it in the list."""

    id: str
    goes: bool
    reason: str
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes."""

    free: int
    total: int


def decide(
    policy: Policy, holdings: Sequence[Holding], sizes: Mapping[str, int], disk: Disk, now: float
) -> list[Decision]:
    """One decision for each image, least recently used first."""
    users = Counter(part for holding in holdings for part in holding.parts)
    count, kept, free = len(holdings), sum(sizes.get(part, 0) for part in users), disk.free
    wanted = policy.wanted(disk.total)
    decisions = []
    for holding in sorted(holdings, key=lambda each: (each.used, each.id)):
        own = sum(sizes.get(part, 0) for part in holding.parts if users[part] == 1)
        age = max(0.0, now - holding.used)
        if holding.kept_by:
            goes, reason = False, holding.kept_by
        elif why := _wanted_away(policy, age, free, wanted):
            goes, reason = True, why
            if policy.keep_images and count - 1 < policy.keep_images:
                goes, reason = False, f"among the {policy.keep_images} that are kept at least"
            elif policy.keep_bytes and kept - own < policy.keep_bytes:
                goes, reason = False, f"among the {_human(policy.keep_bytes)} that are kept at least"
        else:
            goes, reason = False, f"used {_ago(age)} ago" + (", too recently to go" if free < wanted else "")
        if goes:
            users.subtract(holding.parts)
            count, kept, free = count - 1, kept - own, free + own
        decisions.append(Decision(holding.id, goes, reason, own, holding.used))
    return decisions


def _wanted_away(policy: Policy, age: float, free: int, wanted: int) -> str:
    if policy.max_age and age > policy.max_age:
        return f"not used for {_ago(age)}, more than {_ago(policy.max_age)}"
    if free < wanted and age > _GRACE:
        return f"{_human(free)} of the disk would be free, {_human(wanted)} are wanted"
    return ""


def _ago(seconds: float) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {word}{'' if number == 1 else 's'}"
    return f"{int(seconds)} second{'' if int(seconds) == 1 else 's'}"


def _human(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.4g}{unit}"
        size /= 1000
    return f"{size:.4g}TB"
