"""Which attestations a build is asked for, in BuildKit's words: `attest:sbom`, `attest:provenance`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from corten.errors import Invalid
from corten.spec.dockerfile.csv_fields import fields
from corten.spec.slsa import PREDICATE

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


@dataclass(frozen=True, slots=True)
class ProvenanceOptions:
    """`inline`: only where it can be a part of the result, an image then. `file` is its name in a directory."""

    mode: Literal["min", "max"] = "max"
    version: str = "v1"
    builder: str = ""
    reproducible: bool = False
    inline: bool = False
    file: str = "provenance.json"


@dataclass(frozen=True, slots=True)
class Attestations:
    """None and False for what is not asked for."""

    sbom: bool = False
    provenance: ProvenanceOptions | None = None

    @property
    def any(self) -> bool:
        return self.sbom or self.provenance is not None


def asked_by(attributes: Mapping[str, str]) -> dict[str, str]:
    """By kind, of BuildKit's attributes: `attest:KIND`, or the build argument BUILDKIT_ATTEST_KIND."""
    prefixes = ("build-arg:BUILDKIT_ATTEST_", "attest:")
    return {
        key.removeprefix(prefix).lower(): value
        for prefix in prefixes
        for key, value in attributes.items()
        if key.startswith(prefix)
    }


def read(asked: Mapping[str, str]) -> Attestations:
    """By kind. Raises Invalid. A `generator` has no effect: it is the builder itself."""
    found = Attestations()
    for kind, text in asked.items():
        values = _fields(kind, text)
        if _flag(values, "disabled"):
            continue
        match kind:
            case "sbom":
                found = Attestations(True, found.provenance)
            case "provenance":
                found = Attestations(found.sbom, _provenance(values))
            case _:
                raise Invalid(f"unknown attestation type {kind[:100]!r}")
    return found


def _fields(kind: str, text: str) -> dict[str, str]:
    try:
        found = fields(text, kind) if text else []
    except ValueError as error:
        raise Invalid(str(error)) from None
    return dict(field.partition("=")[::2] for field in found)


def _provenance(values: Mapping[str, str]) -> ProvenanceOptions:
    mode = values.get("mode", "max")
    version = values.get("version", "v1")
    name = values.get("filename", "provenance.json")
    if mode not in ("min", "max", "full"):
        raise Invalid(f"invalid mode {mode[:100]!r}")
    if version not in PREDICATE:
        raise Invalid(f"invalid provenance SLSA version: {version[:100]}")
    if not name or "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > 255:
        raise Invalid(f"invalid name of a file for provenance: {name[:100]!r}")
    return ProvenanceOptions(
        "min" if mode == "min" else "max",
        version,
        values.get("builder-id", ""),
        _flag(values, "reproducible"),
        _flag(values, "inline-only"),
        name,
    )


def _flag(values: Mapping[str, str], key: str) -> bool:
    value = values.get(key, "false").lower()
    if value not in (*_TRUE, *_FALSE):
        raise Invalid(f"failed to parse {key} flag {value[:100]!r}")
    return value in _TRUE
