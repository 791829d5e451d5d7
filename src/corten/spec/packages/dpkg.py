"""dpkg's database (deb-control(5), dpkg-query(1)), and copyright files (Debian's machine-readable format 1.0)."""

from __future__ import annotations

from collections.abc import Iterator

from corten.spec.packages.package import Package, clean
from corten.spec.packages.stanzas import first, stanzas

_KEYS = frozenset(("package", "version", "architecture", "status", "maintainer", "source"))
_GONE = ("not-installed", "config-files")  # nothing of it is there but its settings
_LICENSES = 20  # of one package: more say nothing


def status(text: str, place: str) -> Iterator[Package]:
    """The installed packages of /var/lib/dpkg/status; in a file of status.d, which has no states, the one of it."""
    for stanza in stanzas(text, _KEYS):
        state = first(stanza, "status").split()
        if state and state[-1] in _GONE:
            continue
        name, version = clean(first(stanza, "package")), clean(first(stanza, "version"))
        if name and version:
            yield Package(
                "deb",
                name,
                version,
                clean(first(stanza, "architecture")),
                supplier=clean(first(stanza, "maintainer")),
                source=clean(first(stanza, "source").partition(" ")[0]),
                place=place,
            )


def licenses(text: str) -> str:
    """The licenses that a copyright file names, each once; "" for a file that is prose."""
    found: dict[str, None] = {}
    for number, stanza in enumerate(stanzas(text, ("format", "license"))):
        if number == 0 and "format" not in stanza:
            return ""
        if name := clean(first(stanza, "license")):
            found[name] = None
        if len(found) >= _LICENSES:
            break
    return " and ".join(f"({name})" if " " in name and len(found) > 1 else name for name in found)
