"""Lengths of time: Go's time.ParseDuration and Duration.String, and go-units' HumanDuration."""

from __future__ import annotations

SECOND = 1_000_000_000
#: Nanoseconds of each unit of Go's.
NANO = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
_DAYS = {"d": 86_400 * SECOND, "w": 7 * 86_400 * SECOND}

_DIGITS = "0123456789."
_MAX = 2**63 - 1
_MAX_TEXT = 64


def parse_duration(text: str) -> int:
    """Nanoseconds of Go's text: "1h30m", "500ms", "-1.5s", "0". Raises ValueError in Go's words."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    return sign * _sum(rest, text, NANO)


def parse_age(text: str) -> int:
    """As `parse_duration`, with d and w for days and weeks, and without a sign: "7d", "2w", "36h".

    Raises ValueError in Go's words for another form.
    """
    return _sum(text, text, {**NANO, **_DAYS})


def _sum(rest: str, text: str, units: dict[str, int]) -> int:
    if rest == "0":
        return 0
    if not rest or len(rest) > _MAX_TEXT:
        raise ValueError(f'time: invalid duration "{text[:_MAX_TEXT]}"')
    total = 0
    while rest:
        number = rest[: len(rest) - len(rest.lstrip(_DIGITS))]
        rest = rest[len(number) :]
        unit = rest[: _first(rest, _DIGITS)]
        rest = rest[len(unit) :]
        if not number.strip(".") or number.count(".") > 1:
            raise ValueError(f'time: invalid duration "{text}"')
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in units:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += _scaled(number, units[unit])
    if total > _MAX:
        raise ValueError(f'time: invalid duration "{text}"')
    return total


def _first(text: str, characters: str) -> int:
    """Where the first of `characters` is; the length of `text` without one."""
    return next((at for at, character in enumerate(text) if character in characters), len(text))


def _scaled(number: str, nanoseconds: int) -> int:
    """Exact: a float would lose nanoseconds from some days on."""
    whole, _, fraction = number.partition(".")
    denominator: int = 10 ** len(fraction)
    return int(whole or 0) * nanoseconds + int(fraction or 0) * nanoseconds // denominator


def go_duration(nanoseconds: int) -> str:
    """Go's time.Duration.String: 1m30s, 1.5s, 300ms, 0s."""
    if nanoseconds == 0:
        return "0s"
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left < SECOND:
        for unit, scale in (("ns", 1), ("µs", 1000), ("ms", 10**6)):
            if left < scale * 1000:
                return sign + _trimmed(left, scale) + unit
    seconds, fraction = divmod(left, SECOND)
    minutes, seconds = divmod(seconds, 60)
    text = _trimmed(seconds * SECOND + fraction, SECOND) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h{minutes}m" if hours else f"{minutes}m") + text
    return sign + text


def in_go(seconds: float) -> str:
    """Seconds in Go's text, for messages: 10s, 1m0s."""
    return go_duration(round(seconds * SECOND))


def _trimmed(value: int, scale: int) -> str:
    whole, part = divmod(value, scale)
    if not part:
        return str(whole)
    return f"{whole}.{str(part).zfill(len(str(scale)) - 1).rstrip('0')}"


def human_duration(seconds: float) -> str:
    """ "3 minutes", "About an hour", "2 weeks"; `seconds` may be negative for clocks that disagree."""
    whole = int(seconds)
    minutes, hours = int(seconds / 60), int(seconds / 3600 + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    for days, word in ((7 * 2, "days"), (30 * 2, "weeks"), (365 * 2, "months")):
        if hours < 24 * days:
            return f"{hours // 24 // {'days': 1, 'weeks': 7, 'months': 30}[word]} {word}"
    return f"{int(seconds / 3600) // 24 // 365} years"
