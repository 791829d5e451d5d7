"""A package as the manager that installed it says it is."""

from __future__ import annotations

from typing import Any, NamedTuple

_LONGEST = 512  # characters of a text: names and versions are far below
_DIGITS = frozenset("0123456789")


class Package(NamedTuple):
    """`kind` is purl's type: deb, apk, rpm, pypi or npm. `license` is as the author wrote it, `source` the name of what
    it was built from, `epoch` rpm's (that of dpkg is a part of the version), `place` the path of its record."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    license: str = ""
    supplier: str = ""
    source: str = ""
    epoch: str = ""
    place: str = ""


class Distribution(NamedTuple):
    """Of os-release(5): ID and VERSION_ID."""

    id: str = ""
    version: str = ""


class Inventory(NamedTuple):
    """Of a tree. `packages` are sorted, each once; `unread` says what could not be read and why, a line each."""

    distribution: Distribution
    packages: list[Package]
    unread: list[str]


def clean(text: Any) -> str:
    """One line of printable Unicode, shortened; "" for what is no text."""
    if not isinstance(text, str):
        return ""
    plain = text[: 4 * _LONGEST].encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())[:_LONGEST]


def is_number(text: str) -> bool:
    return bool(text) and set(text) <= _DIGITS


def distribution(text: str) -> Distribution:
    """Of the file os-release."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found[key.strip()] = clean(value).strip("\"'")
    return Distribution(found.get("ID", ""), found.get("VERSION_ID", ""))
