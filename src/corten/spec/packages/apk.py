"""The database of apk (apk-tools, "installed" format): lines of one letter, a colon and a value; empty lines between
packages."""

from __future__ import annotations

from collections.abc import Iterator

from corten.spec.packages.package import Package, clean
from corten.spec.packages.stanzas import first, stanzas

_KEYS = frozenset("PVALom")


def installed(text: str, place: str) -> Iterator[Package]:
    """Of /lib/apk/db/installed. Letters count in their case: `p:` is what a package provides, `a:` a file's mode."""
    for stanza in stanzas(text, _KEYS, fold=False):
        name, version = clean(first(stanza, "P")), clean(first(stanza, "V"))
        if name and version:
            yield Package(
                "apk",
                name,
                version,
                clean(first(stanza, "A")),
                clean(first(stanza, "L")),
                clean(first(stanza, "m")),
                clean(first(stanza, "o")),
                place=place,
            )
