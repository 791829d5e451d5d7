"""The builder's own variables: proxies, arguments that no ARG takes, SOURCE_DATE_EPOCH. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = frozenset((*_PROXIES, *(name.lower() for name in _PROXIES)))  # taken without an ARG
# Read by the builder itself; not to be consumed by an ARG.
_OWN = frozenset({"SOURCE_DATE_EPOCH"})


def proxies(arguments: Mapping[str, str], classic: bool) -> tuple[str, ...]:
    """NAME=VALUE of the proxies among the arguments, in both cases (the classic builder: as they are given)."""
    given = {name: value for name, value in arguments.items() if name in PROXIES}
    if classic:
        return tuple(f"{name}={value}" for name, value in given.items())
    both: dict[str, str] = {}
    for name in _PROXIES:
        value = given.get(name, given.get(name.lower()))
        if value is not None:
            both |= {name: value, name.lower(): value}
    return tuple(f"{name}={value}" for name, value in both.items())


def unconsumed(arguments: Mapping[str, str], declared: Iterable[str]) -> list[str]:
    """Names of arguments that no ARG takes, sorted."""
    known = {*declared, *PROXIES, *_OWN}
    return sorted(name for name in arguments if name not in known and not name.startswith("BUILDKIT_"))


def epoch(arguments: Mapping[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH, in seconds: the time of files that are copied, and of what an image says of itself."""
    value = arguments.get("SOURCE_DATE_EPOCH", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 12 else None
