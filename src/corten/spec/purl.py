"""Package URLs (the purl specification): `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from corten.spec.packages.package import Distribution, Package
from corten.spec.platform import Platform
from corten.spec.reference import Reference

_VENDORS = {"deb": "debian", "apk": "alpine", "rpm": "rpm"}  # where the tree does not say whose it is


def of_package(package: Package, distribution: Distribution) -> str:
    """Of what a package manager has installed."""
    match package.kind:
        case "pypi":
            return _purl("pypi", "", package.name.lower().replace("_", "-"), package.version, {})
        case "npm":
            scope, _, name = package.name.rpartition("/")
            return _purl("npm", scope, name, package.version, {})
    release = f"{distribution.id}-{distribution.version}" if distribution.version else distribution.id
    qualifiers = {
        "arch": package.architecture,
        "distro": release,
        "epoch": package.epoch,
        "upstream": package.source if package.source != package.name else "",
    }
    vendor = distribution.id or _VENDORS[package.kind]
    return _purl(package.kind, vendor, package.name, package.version, qualifiers)


def of_image(kind: str, reference: Reference, platform: Platform | None) -> str:
    """Of an image, as BuildKit writes it: `kind` is docker, or oci for one that is in no registry."""
    named = reference.tagged
    space, _, name = named.familiar_name.rpartition("/")
    qualifiers = {"digest": named.digest, "platform": str(platform) if platform is not None else ""}
    return _purl(kind, space, name, named.tag, qualifiers)


def _purl(kind: str, space: str, name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    above = "".join(f"{_quoted(part)}/" for part in space.split("/") if part)
    text = f"pkg:{kind}/{above}{_quoted(name)}" + (f"@{_quoted(version)}" if version else "")
    given = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value)
    return f"{text}?{given}" if given else text


def _quoted(text: str) -> str:
    return quote(text, safe="")
