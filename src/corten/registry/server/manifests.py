"""What a registry has to know of a manifest: what it needs, what it is about, what kind of artifact it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from corten.errors import Invalid
from corten.registry.server import descriptors
from corten.spec import digest as digests
from corten.spec.json import Json
from corten.spec.oci_image import MAX_INDEX, MAX_MANIFEST, OCI_MANIFEST, parse_json

DEFAULT = OCI_MANIFEST
# RFC 6838, 4.2. It is what the manifest is served as: nothing that a browser would show or run.
_TYPE = re.compile(r"application/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


@dataclass(frozen=True, slots=True)
class Checked:
    """`blobs` have to be in the repository already; `manifests` (of an index) and `subject` (a digest or "") need not
    be there."""

    media_type: str
    blobs: tuple[str, ...]
    manifests: tuple[str, ...]
    subject: str
    artifact_type: str
    annotations: Json


def check_pushed(body: bytes, content_type: str) -> Checked:
    """Check a manifest that is pushed. Raises Invalid for a field that no client could read.

    One that is stored already, or comes from another registry, is only checked for what this registry relies on.
    """
    document = descriptors.read(body)
    descriptors.check(document)
    return _checked(document, content_type)


def check_manifest(body: bytes, content_type: str) -> Checked:
    """Check a stored or fetched manifest. Raises Invalid for what is of neither OCI's nor Docker's form."""
    return _checked(parse_json(body, MAX_MANIFEST, "manifest"), content_type)


def _checked(document: Json, content_type: str) -> Checked:
    served = content_type.partition(";")[0].strip().lower()
    declared = document.get("mediaType") or ""
    if not isinstance(declared, str) or (declared and served and declared.lower() != served):
        raise Invalid("manifest invalid: its mediaType is not the Content-Type that it is sent with")
    if not _TYPE.fullmatch((declared or served or DEFAULT).lower()):
        raise Invalid("manifest invalid: its mediaType is no application/ type")
    if document.get("schemaVersion") != 2:
        raise Invalid("manifest invalid: it has no schemaVersion 2")
    if "manifests" in document and ("layers" in document or "config" in document):
        raise Invalid("manifest invalid: it has both layers and manifests")
    blobs = [] if "manifests" in document else [*_list(document, "layers"), *_list(document, "blobs")]
    config = document.get("config")
    if config is not None:
        blobs.append(config)
    children = _list(document, "manifests")
    kept = [entry for entry in blobs if not (isinstance(entry, dict) and entry.get("urls"))]  # foreign: elsewhere
    subject = document.get("subject")
    annotations = document.get("annotations") or {}
    return Checked(
        declared or served or DEFAULT,
        tuple(_digest(entry) for entry in kept),
        tuple(_digest(entry) for entry in children),
        _digest(subject) if subject is not None else "",
        _artifact_type(document, config),
        annotations if isinstance(annotations, dict) else {},
    )


def _list(document: Json, key: str) -> list[Any]:
    found = document.get(key) or []
    if not isinstance(found, list) or len(found) > MAX_INDEX:
        raise Invalid(f"manifest invalid: {key} is no list, or too long")
    for entry in found:
        _digest(entry)
    return found


def _digest(entry: Any) -> str:
    if not isinstance(entry, dict):
        raise Invalid("manifest invalid: a descriptor is no object")
    return digests.check(entry.get("digest"))


def sizes_of(body: bytes) -> dict[str, int]:
    """The bytes of each blob that a manifest names, as far as it says."""
    document = parse_json(body, MAX_MANIFEST, "manifest")
    entries = [document.get("config"), *_list(document, "layers"), *_list(document, "blobs")]
    sized = (entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("size"), int))
    return {entry["digest"]: entry["size"] for entry in sized if entry["size"] >= 0}


def _artifact_type(document: Json, config: Any) -> str:
    """Its own, or for an image manifest without one its configuration's type (specification, "Listing Referrers")."""
    own = document.get("artifactType") or ""
    if not own and isinstance(config, dict):
        own = config.get("mediaType") or ""
    return own if isinstance(own, str) else ""


def descriptor_of(manifest: Checked, digest: str, body: bytes) -> Json:
    """A referrer as it is listed."""
    shown: Json = {"mediaType": manifest.media_type, "digest": digest, "size": len(body)}
    if manifest.artifact_type:
        shown["artifactType"] = manifest.artifact_type
    if manifest.annotations:
        shown["annotations"] = manifest.annotations
    return shown
