"""Times as Docker writes and reads them. In the engine a time is an int: nanoseconds since the epoch, 0 is never."""

from __future__ import annotations

import re
import time
from calendar import timegm

from corten.errors import Invalid
from corten.units.durations import SECOND, parse_duration

NEVER = "0001-01-01T00:00:00Z"

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d+))?)?)?)?(Z|[+-]\d{2}:?\d{2})?\Z", re.I
)
_UNIX = re.compile(r"(\d{1,12})(?:\.(\d{1,9})\d*)?\Z")


def now() -> int:
    return time.time_ns()


def rfc3339(at: int) -> str:
    """RFC 3339 with as many decimals as are needed, as Go prints it: 2026-01-02T03:04:05.6Z."""
    return moment(at) if at > 0 else NEVER


def moment(at: int) -> str:
    """The same where zero is a time: the beginning of 1970."""
    seconds, nanos = divmod(at, SECOND)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{nanos:09d}".rstrip("0") + "Z" if nanos else text + "Z"


def of_seconds(at: float) -> str:
    """The same of seconds since the epoch."""
    return rfc3339(int(at * SECOND))


def parse_time(text: str, at: int | None = None) -> int:
    """A time as clients give it: UNIX seconds with decimals, RFC 3339 or a shorter form of it, or a duration ago.

    `at` is what a duration counts back from; the present time when None. A time without zone is UTC. Raises Invalid
    for another form.
    """
    if found := _UNIX.match(text):
        return int(found[1]) * SECOND + int((found[2] or "0").ljust(9, "0"))
    if found := _RFC3339.match(text):
        return _rfc3339_nanos(text, found)
    try:
        return (now() if at is None else at) - parse_duration(text)
    except ValueError:
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
