"""Times as Docker writes and reads them. In the engine a time is an int: nanoseconds since the epoch, 0 is never."""

from __future__ import annotations

import re
import time
from calendar import timegm

from corten.errors import Invalid

NEVER = "0001-01-01T00:00:00Z"
SECOND = 1_000_000_000

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d+))?)?)?)?(Z|[+-]\d{2}:?\d{2})?\Z", re.I
)
_UNIX = re.compile(r"(\d{1,12})(?:\.(\d{1,9})\d*)?\Z")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
# Docker's words for an age (units.HumanDuration): below `limit` seconds, count in `size` seconds.
_AGES = (
    (60, 1, "second"),
    (120, 0, "About a minute"),
    (46 * 60, 60, "minute"),
    (2 * 3600 - 1800, 0, "About an hour"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (730 * 86400, 30 * 86400, "month"),
)


def now() -> int:
    return time.time_ns()


def rfc3339(at: int) -> str:
    """RFC 3339 with as many decimals as are needed, as Go prints it: 2026-01-02T03:04:05.6Z."""
    if at <= 0:
        return NEVER
    seconds, nanos = divmod(at, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{nanos:09d}".rstrip("0") + "Z" if nanos else text + "Z"


def parse_duration(text: str) -> int:
    """Go's duration text ("1h30m", "10s", "-5m") in nanoseconds. Invalid."""
    body = text.lstrip("+-")
    if body == "0":
        return 0
    parts = _DURATION.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body or len(body) > 64:
        raise Invalid(f'invalid duration "{text}": give a number and a unit, as 10s or 1h30m')
    total = sum(int(float(number) * _UNITS[unit]) for number, unit in parts)
    return -total if text.startswith("-") else total


def parse_time(text: str, at: int | None = None) -> int:
    """A time as clients give it: UNIX seconds with decimals, RFC 3339 or a shorter form of it, or a duration ago.

    `at` is what a duration counts back from; the present time when None. A time without zone is UTC. Invalid.
    """
    if found := _UNIX.match(text):
        return int(found[1]) * SECOND + int((found[2] or "0").ljust(9, "0"))
    if found := _RFC3339.match(text):
        return _rfc3339_nanos(text, found)
    try:
        return (now() if at is None else at) - parse_duration(text)
    except Invalid:
        raise Invalid(f'failed to parse value as time or duration: "{text}"') from None


def _rfc3339_nanos(text: str, found: re.Match[str]) -> int:
    year, month, day, hour, minute, second = (int(found[i] or 0) for i in range(1, 7))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60 and year >= 1970):
        raise Invalid(f'failed to parse value as time: "{text}" is out of range')
    nanos = int((found[7] or "")[:9].ljust(9, "0") or 0)
    zone = found[8] or "Z"
    offset = 0
    if zone not in "Zz":
        offset = (int(zone[1:3]) * 60 + int(zone[-2:])) * (-60 if zone[0] == "-" else 60)
    return (timegm((year, month, day, hour, minute, second)) - offset) * SECOND + nanos


def age(seconds: float) -> str:
    """A length of time in Docker's words: "Less than a second", "5 minutes", "About an hour", "3 weeks"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    for limit, size, word in _AGES:
        if whole < limit:
            if not size:
                return word
            count = whole // size if word != "hour" else (whole + size // 2) // size
            return f"{count} {word}" + ("s" if count != 1 else "")
    return f"{whole / (365 * 86400):.0f} years"
