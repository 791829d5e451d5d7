"""Image manifests and indexes (OCI image specification 1.1; Docker image manifest v2, schema 2).

Every document here comes from a registry or an archive, so each parse bounds and checks it, and refuses one that could
be read in two ways (both `layers` and `manifests`: CVE-2021-41190). Raises Invalid for what is malformed and
Unsupported for what is well-formed but not an image that can be run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corten.errors import Invalid, Unsupported
from corten.spec import digest as digests
from corten.spec import go_json
from corten.spec.go_types import INT, INT64, STRING, STRINGS, TEXTS, Items, Plain, Record
from corten.spec.json import Json
from corten.spec.platform import Platform, of

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_PLUGIN = "application/vnd.docker.plugin.v1+json"
# The last four are what Docker takes besides: registries of old that did not know better.
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", "application/json", "text/html", "")
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)
# Layers whose licence may forbid registries to have them. They are taken from where they are asked for, or not at all.
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
LAYERS = {
    kind + end: compression
    for kinds, separator in (((OCI_LAYER, OCI_FOREIGN), "+"), ((DOCKER_LAYER, DOCKER_FOREIGN), "."))
    for kind in kinds
    for end, compression in (("", "tar"), (separator + "gzip", "gzip"), (separator + "zstd", "zstd"))
}

DIFF_ID = "containerd.io/uncompressed"  # an annotation of layers in containerd's own documents
MAX_MANIFEST = 4 * 1024 * 1024
MAX_CONFIG = 8 * 1024 * 1024
MAX_LAYERS = 500  # overlay's own limit (OVL_MAX_STACK)
MAX_INDEX = 10_000
_MAX_SIZE = 1 << 50
NO_ANNOTATIONS: Mapping[str, str] = {}

_PLATFORM = Record(
    "Platform",
    "v1.Platform",
    {"architecture": STRING, "os": STRING, "os.version": STRING, "os.features": STRINGS, "variant": STRING},
)
_DESCRIPTOR = Record(
    "Descriptor",
    "v1.Descriptor",
    {
        "mediaType": STRING,
        "digest": Plain("digest.Digest"),
        "size": INT64,
        "urls": STRINGS,
        "annotations": TEXTS,
        "platform": _PLATFORM,
    },
)
_DESCRIPTORS = Items(_DESCRIPTOR, "[]v1.Descriptor")
_DOCUMENT = Record(
    "Manifest",
    "v1.Manifest",
    {
        "schemaVersion": INT,
        "mediaType": STRING,
        "config": _DESCRIPTOR,
        "layers": _DESCRIPTORS,
        "manifests": _DESCRIPTORS,
        "annotations": TEXTS,
    },
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to a blob: what it is, its digest and its size in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None

    def to_json(self) -> Json:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Index:
    media_type: str
    manifests: tuple[Descriptor, ...]


def parse_manifest(body: bytes, content_type: str = "") -> Manifest | Index:
    """The manifest or index in `body`. `content_type` is what the registry called it; it may not contradict."""
    document = _read(body)
    declared = document.get("mediaType") or ""
    served = content_type.partition(";")[0].strip().lower()
    if document.get("schemaVersion") == 1 or served in SCHEMA1:
        raise Unsupported("manifest schema 1 is not supported; push the image again with a current tool")
    if document.get("schemaVersion") != 2:
        raise Invalid("manifest has no schemaVersion 2")
    if ("layers" in document or "config" in document) and "manifests" in document:
        raise Invalid("ambiguous manifest: it has both layers and manifests")
    known = MANIFESTS + INDEXES
    if declared and served in known and declared != served:
        raise Invalid(f"manifest says mediaType {declared[:80]!r} but was served as {served!r}")
    kind = declared or (served if served in known else "")
    if "manifests" in document:
        return _index(document, kind)
    return _manifest(document, kind)


def entries(body: bytes) -> list[Json]:
    """The entries of an index as objects, with what `Descriptor` does not keep: annotations, all of the platform."""
    found: list[Json] = _read(body).get("manifests") or []
    return found


def blobs_of(body: bytes) -> list[Json]:
    """What a manifest has as layers, or an index as manifests, as objects with their annotations."""
    document = _read(body)
    found: list[Json] = document.get("layers") or document.get("manifests") or []
    return found


def _read(body: bytes) -> Json:
    if len(body) > MAX_MANIFEST:
        raise Invalid(f"manifest is larger than {MAX_MANIFEST} bytes")
    document, error = go_json.read(go_json.loads(body, "manifest"), _DOCUMENT)
    if error is not None:
        raise error
    return document or {}


def _index(document: Json, kind: str) -> Index:
    if kind and kind not in INDEXES:
        raise Invalid(f"document with manifests has mediaType {kind[:80]!r}")
    entries = document["manifests"]
    if len(entries) > MAX_INDEX:
        raise Invalid(f"index has more than {MAX_INDEX} manifests")
    return Index(kind or OCI_INDEX, tuple(descriptor(e) for e in entries))


def _manifest(document: Json, kind: str) -> Manifest:
    if kind and kind not in MANIFESTS:
        raise Invalid(f"document with layers has mediaType {kind[:80]!r}")
    layers = document.get("layers")
    if layers is None or len(layers) > MAX_LAYERS:
        raise Invalid(f"manifest has no list of layers, or more than {MAX_LAYERS}")
    return Manifest(kind or OCI_MANIFEST, descriptor(document.get("config")), tuple(descriptor(e) for e in layers))


def descriptor(document: Any) -> Descriptor:
    """One descriptor, checked. `urls` and annotations are deliberately not kept: nothing may act on them."""
    if not isinstance(document, dict):
        raise Invalid("descriptor is not an object")
    size, media_type = document.get("size"), document.get("mediaType") or ""
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _MAX_SIZE:
        raise Invalid(f"descriptor has an impossible size: {str(size)[:40]}")
    if not isinstance(media_type, str) or len(media_type) > 255:
        raise Invalid("descriptor has no usable mediaType")
    return Descriptor(media_type, digests.check(document.get("digest")), size, of(document.get("platform")))


def layer_compression(layer: Descriptor) -> str:
    """ "tar", "gzip" or "zstd". Raises Unsupported for what is no file system layer."""
    kind = LAYERS.get(layer.media_type)
    if kind is not None:
        return kind
    raise Unsupported(f"unsupported layer media type {layer.media_type!r} of {layer.digest}: not a container image")


def is_foreign(layer: Descriptor) -> bool:
    return layer.media_type.startswith((OCI_FOREIGN, DOCKER_FOREIGN))


def check_config_type(config: Descriptor) -> None:
    """Raises Unsupported, in Docker's words, for what is no image: a chart, a plugin, a signature."""
    if config.media_type not in CONFIGS:
        kind = "plugin" if config.media_type == DOCKER_PLUGIN else "unknown"
        raise Unsupported(f'Encountered remote "{config.media_type}"({kind}) when fetching')


def chain_ids(diffs: Sequence[str]) -> tuple[str, ...]:
    """The name of the tree after each layer (OCI image specification, config.md, "Layer ChainID")."""
    chain: list[str] = []
    for diff in diffs:
        chain.append("sha256:" + hashlib.sha256(f"{chain[-1]} {diff}".encode()).hexdigest() if chain else diff)
    return tuple(chain)


def layer_type(compression: str, docker: bool) -> str:
    """The media type of a layer that is compressed so; Docker has none for zstd."""
    end = "" if compression == "tar" else ("." if docker else "+") + compression
    return (DOCKER_LAYER if docker else OCI_LAYER) + end


def render_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    media_type: str = OCI_MANIFEST,
    annotations: Mapping[str, str] = NO_ANNOTATIONS,
) -> bytes:
    return render_layers(config, [layer.to_json() for layer in layers], media_type, annotations)


def render_layers(
    config: Descriptor, layers: Sequence[Json], media_type: str, annotations: Mapping[str, str] = NO_ANNOTATIONS
) -> bytes:
    """A manifest whose layers are descriptors with what is said of them besides."""
    document = {"schemaVersion": 2, "mediaType": media_type, "config": config.to_json(), "layers": list(layers)}
    return _rendered(document, annotations)


def render_index(
    entries: Sequence[Json], media_type: str = OCI_INDEX, annotations: Mapping[str, str] = NO_ANNOTATIONS
) -> bytes:
    """`entries` are descriptors with what an index says of them besides: platform, annotations."""
    return _rendered({"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)}, annotations)


def _rendered(document: Json, annotations: Mapping[str, str]) -> bytes:
    named = {"annotations": dict(sorted(annotations.items()))} if annotations else {}
    return json.dumps({**document, **named}, separators=(",", ":")).encode()


def parse_json(body: bytes, limit: int, what: str) -> Json:
    """A JSON object of at most `limit` bytes."""
    if len(body) > limit:
        raise Invalid(f"{what} is larger than {limit} bytes")
    return go_json.document(body, what)
