"""package.json of what is below a node_modules (npm's documentation, "package.json")."""

from __future__ import annotations

import codecs
import json
from typing import Any

from corten.spec.packages.package import Package, clean

_LICENSES = 20


def manifest(data: bytes, place: str) -> Package | None:
    """None for what is no JSON, or has no name and version."""
    try:
        found = json.loads(data.removeprefix(codecs.BOM_UTF8).decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    name, version = clean(found.get("name")), clean(found.get("version"))
    if not name or not version:
        return None
    return Package(
        "npm", name, version, license=_license(found), supplier=clean(_named(found.get("author"), "name")), place=place
    )


def _named(value: Any, key: str) -> Any:
    """Older ones have an object in place of a text."""
    return value.get(key) if isinstance(value, dict) else value


def _license(found: dict[str, Any]) -> str:
    if (one := clean(_named(found.get("license"), "type"))) or not isinstance(found.get("licenses"), list):
        return one
    several = [clean(_named(each, "type")) for each in found["licenses"][:_LICENSES]]
    return " or ".join(each for each in several if each)
