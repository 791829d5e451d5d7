"""Times as users write them, and as Docker shows them."""

from __future__ import annotations

import time

from corten.cli.errors import CommandError
from corten.units.durations import parse_duration

# From the most to the least precise spelling, as strptime(3) writes them.
SHAPES = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H", "%Y-%m-%d")


def timestamp(text: str, what: str, now: float | None = None) -> str:
    """UNIX seconds, with a fraction when there is one, of a moment or of a duration ago.

    Raises CommandError for another form.
    """
    if text == "0":  # a duration as well; the moment 0 is meant
        return text
    try:
        ago = parse_duration(text)
    except ValueError:
        pass
    else:
        nanoseconds = int((time.time() if now is None else now) * 1e9) - ago
        return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
    seconds, _, fraction = text.partition(".")
    if seconds.lstrip("-").isdigit() and (not fraction or fraction.isdigit()):
        return text
    try:
        whole, nanos = parse_moment(text)
    except ValueError:
        raise CommandError(f'invalid value for "{what}": failed to parse value as time or duration: "{text}"') from None
    return f"{whole}.{nanos:09d}"


def parse_moment(text: str) -> tuple[int, int]:
    """(seconds, nanoseconds) since 1970 of RFC 3339, or a shortening of it in local time.

    Raises ValueError for another form.
    """
    body, offset = _split_zone(text)
    body, _, fraction = body.partition(".")
    for shape in SHAPES:
        try:
            parsed = time.strptime(body, shape)
        except ValueError:
            continue
        nanos = int(fraction[:9].ljust(9, "0")) if fraction else 0
        if offset is None:
            return int(time.mktime(parsed)), nanos
        return _timegm(parsed) - offset, nanos
    raise ValueError(f"{text!r} is no time")


def utc(text: str) -> float:
    """Seconds since 1970 of RFC 3339 in UTC, as a daemon of ours prints it: strptime(3) costs 2 ms the first time."""
    if text.endswith("+00:00"):
        text = f"{text[:-6]}Z"
    try:
        numbers = [int(text[at : at + size]) for at, size in ((0, 4), (5, 2), (8, 2), (11, 2), (14, 2), (17, 2))]
        fraction = float(f"0{text[19:-1]}") if text[19:-1] else 0.0
    except ValueError:
        numbers = []
    if not numbers or not text.endswith("Z"):
        seconds, nanoseconds = parse_moment(text)
        return seconds + nanoseconds / 1e9
    return _timegm(time.struct_time((*numbers, 0, 0, 0))) + fraction


def _split_zone(text: str) -> tuple[str, int | None]:
    """The time without its zone, and the zone's offset in seconds."""
    if text.endswith("Z"):
        return text[:-1], 0
    if len(text) > 16 and text[-6] in "+-" and text[-3] == ":":
        sign = -1 if text[-6] == "-" else 1
        return text[:-6], sign * (int(text[-5:-3]) * 3600 + int(text[-2:]) * 60)
    return text, None


def _timegm(moment: time.struct_time) -> int:
    """Seconds since 1970 of a UTC time (days from civil, proleptic Gregorian)."""
    year, month = moment.tm_year, moment.tm_mon
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + moment.tm_mday - 1
    days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
    return days * 86400 + moment.tm_hour * 3600 + moment.tm_min * 60 + moment.tm_sec


def go_time(seconds: int) -> str:
    """Go's default text of a local time: 2006-01-02 15:04:05 -0700 MST."""
    local = time.localtime(seconds)
    return time.strftime("%Y-%m-%d %H:%M:%S %z ", local) + (local.tm_zone or "UTC")


def go_nano(nanoseconds: int) -> str:
    """RFC 3339 with nine decimals, local time: 2006-01-02T15:04:05.000000000Z07:00."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + f".{fraction:09d}{shown}"


def go_moment(text: str) -> str:
    """RFC 3339 as Go prints a time: 2006-01-02 15:04:05.999999999 +0000 UTC; what is no moment stays as it is."""
    body, offset = _split_zone(text)
    whole, _, fraction = body.partition(".")
    if offset is None or "T" not in whole:
        return text
    digits = fraction.rstrip("0")
    sign = "-" if offset < 0 else "+"
    zone = f"{sign}{abs(offset) // 3600:02d}{abs(offset) // 60 % 60:02d}"
    return f"{whole.replace('T', ' ')}{'.' + digits if digits else ''} {zone} {'UTC' if offset == 0 else zone}"
