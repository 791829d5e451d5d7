"""What is in a Python environment: METADATA of *.dist-info, PKG-INFO of *.egg-info (core metadata, PyPA)."""

from __future__ import annotations

from corten.spec.packages.package import Package, clean
from corten.spec.packages.stanzas import first, stanzas

_KEYS = ("name", "version", "license", "license-expression", "classifier", "author", "maintainer", "author-email")
_CLASSIFIED = "License :: "
_LONGEST_LICENSE = 200  # characters: some put the whole text there


def metadata(text: str, place: str) -> Package | None:
    """None without a name and a version."""
    headers = next(stanzas(text, _KEYS), {})
    name, version = clean(first(headers, "name")), clean(first(headers, "version"))
    if not name or not version:
        return None
    given = first(headers, "license-expression") or first(headers, "license")
    if not given or given == "UNKNOWN" or len(given) > _LONGEST_LICENSE:
        given = " and ".join(_classified(headers.get("classifier", [])))
    author = first(headers, "author") or first(headers, "maintainer") or first(headers, "author-email")
    return Package("pypi", name, version, license=clean(given), supplier=clean(author), place=place)


def _classified(classifiers: list[str]) -> list[str]:
    """The last words of "License :: OSI Approved :: MIT License"."""
    found = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith(_CLASSIFIED)]
    return list(dict.fromkeys(f"({each})" if len(found) > 1 else each for each in found if each != "OSI Approved"))
