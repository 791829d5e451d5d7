"""Limits: CPUs, memory, ulimits."""

from __future__ import annotations

from corten.spec.docker.host_config import Ulimit
from corten.units.sizes import parse_bytes

ULIMITS = frozenset(
    [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ]
)


def parse_cpus(text: str) -> int:
    """1.5 to 1500000000 billionths of a CPU; more than nine decimals are refused."""
    whole, _, fraction = text.partition(".")
    sign = -1 if whole.startswith("-") else 1
    digits = whole.lstrip("+-") or "0"
    if not digits.isdigit() or (fraction and not fraction.isdigit()) or text in ("", ".", "-", "+"):
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return sign * (int(digits) * 10**9 + int(fraction[:9].ljust(9, "0")))


def parse_memory_swap(text: str) -> int:
    return -1 if text == "-1" else parse_bytes(text)


def parse_ulimit(text: str) -> Ulimit:
    """nofile=1024:2048 or nofile=1024 to Docker's Ulimit."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft_text, colon, hard_text = limits.partition(":")
    if ":" in hard_text:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft = _limit(soft_text)
    hard = _limit(hard_text) if colon else soft
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name=name, hard=hard, soft=soft)


def _limit(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
