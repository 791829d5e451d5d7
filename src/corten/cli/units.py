"""Sizes and times for people, in go-units' words; and back from Docker's spellings to numbers."""

from __future__ import annotations

NANO = {"ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def significant(value: float, digits: int) -> str:
    """C's %.*g, which Go's fmt follows too, except that Go writes a large exponent with two digits as well."""
    return f"{value:.{digits}g}"


def _scaled(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return significant(size, digits) + names[index]


def human_size(size: float, digits: int = 4) -> str:
    """1.234MB: powers of 1000. Docker shows 4 digits of images and 3 in most other places."""
    return _scaled(float(size), 1000.0, DECIMAL, digits)


def bytes_size(size: float) -> str:
    """1.205GiB: powers of 1024."""
    return _scaled(float(size), 1024.0, BINARY, 4)


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


def parse_bytes(text: str) -> int:
    """go-units' RAMInBytes: 512, 64k, 1.5g, 2GiB, all in powers of 1024. ValueError."""
    lower = text.strip().lower()
    digits = lower.rstrip("bikmgtpezy ")
    suffix = lower[len(digits) :].strip()
    power = "bkmgtpezy".find(suffix[:1]) if suffix else 0
    if digits == "" or power < 0 or suffix[1:] not in ("", "b", "ib") or (suffix[:1] == "b" and len(suffix) > 1):
        raise ValueError(f"invalid size: '{text}'")
    try:
        size = float(digits)
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if size < 0 or size != size or size in (float("inf"), float("-inf")):
        raise ValueError(f"invalid size: '{text}'")
    return int(size * 1024**power)


def parse_duration(text: str) -> int:
    """Go's time.ParseDuration in nanoseconds: 1h30m, 500ms, -1.5s. ValueError."""
    rest = text
    sign = 1
    if rest[:1] in ("+", "-"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f'time: invalid duration "{text}"')
    total = 0.0
    while rest:
        number = _leading(rest, "0123456789.")
        rest = rest[len(number) :]
        if not number.strip(".") or number.count(".") > 1:
            raise ValueError(f'time: invalid duration "{text}"')
        unit = rest[: len(rest) - len(rest.lstrip("nuµμmsh" + "abcdefgijklopqrtvwxyz"))]
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in NANO:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * NANO[unit]
        rest = rest[len(unit) :]
    return sign * round(total)


def _leading(text: str, alphabet: str) -> str:
    return text[: len(text) - len(text.lstrip(alphabet))]


def go_duration(nanoseconds: int) -> str:
    """Go's time.Duration.String: 1m30s, 1.5s, 300ms, 0s."""
    if nanoseconds == 0:
        return "0s"
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left < 10**9:
        for unit, scale in (("ns", 1), ("µs", 1000), ("ms", 10**6)):
            if left < scale * 1000:
                return sign + _trimmed(left, scale) + unit
    seconds, fraction = divmod(left, 10**9)
    minutes, seconds = divmod(seconds, 60)
    text = _trimmed(seconds * 10**9 + fraction, 10**9) + "s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h{minutes}m" if hours else f"{minutes}m") + text
    return sign + text


def _trimmed(value: int, scale: int) -> str:
    whole, part = divmod(value, scale)
    if not part:
        return str(whole)
    return f"{whole}.{str(part).zfill(len(str(scale)) - 1).rstrip('0')}"
