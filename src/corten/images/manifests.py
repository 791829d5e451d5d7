"""What there is of an image's index, as Docker's API shows it: ManifestSummary (API 1.47)."""

from __future__ import annotations

from corten.images.remove import Users
from corten.images.store import ImageStore
from corten.images.variants import Variant, variants
from corten.spec import oci_image
from corten.spec import platform as platforms
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor, Manifest, chain_ids
from corten.store.images import ImageRecord


def summaries(store: ImageStore, record: ImageRecord, users: Users) -> list[Json]:
    """One for each image of the index, in its order; of an image without one for itself. Reads blobs."""
    found = variants(store.blobs, record) or [_alone(store, record)]
    return [_summary(store, each, users) for each in found]


def _alone(store: ImageStore, record: ImageRecord) -> Variant:
    document = oci_image.parse_manifest(store.blobs.read(record.manifest, oci_image.MAX_MANIFEST))
    assert isinstance(document, Manifest)
    size = store.blobs.size(record.manifest)
    return Variant(Descriptor(document.media_type, record.manifest, size, record.config.platform), document)


def _summary(store: ImageStore, variant: Variant, users: Users) -> Json:
    entry, manifest = variant.entry, variant.manifest
    parts = [entry, manifest.config, *manifest.layers]
    content = sum(part.size for part in parts if store.blobs.has(part.digest))
    known = store.records.get(manifest.config.digest)
    unpacked = _unpacked(store, known) if known is not None else 0
    described = platforms.described(entry.platform) if entry.platform is not None else {}
    return {
        "ID": entry.digest,
        "Descriptor": {**entry.to_json(), **({"platform": described} if described else {})},
        "Available": variant.here(store.blobs),
        "Size": {"Content": content, "Total": content + unpacked},
        "Kind": "image",
        "ImageData": {
            "Platform": described,
            "Containers": [container for container, _ in users(manifest.config.digest)],
            "Size": {"Unpacked": unpacked},
        },
    }


def _unpacked(store: ImageStore, record: ImageRecord) -> int:
    trees = store.trees.tree_store
    return sum(trees.size(name) for name in chain_ids(record.config.diff_ids) if trees.has(name))
