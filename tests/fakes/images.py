"""An image for containers that are plain processes: the real store has it, and nothing of it is ever mounted."""

from __future__ import annotations

from corten.images import keep
from corten.spec.oci_image import Manifest, parse_manifest
from image_parts.stores import Made, Store, digest

_CONFIG = {
    "Cmd": ["true"],
    "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes"],
    "Labels": {"of": "image"},
}
_EMPTY = bytes(1024)  # a tar without members


def keep_image(store: Store, name: str = "test:latest") -> str:
    """Its id. Its one layer is empty, so that neither root nor a worker is needed to unpack it."""
    made, trees = Made([_EMPTY], config=_CONFIG), store.trees
    for data in (*made.blobs.values(), made.manifest):
        store.blobs.put(data)
    if not trees.tree_store.has(digest(_EMPTY)):
        trees.commit(trees.receive(), digest(_EMPTY), None, 0)
    manifest = parse_manifest(made.manifest)
    assert isinstance(manifest, Manifest)
    image = keep.plan(manifest, digest(made.manifest), made.config)
    keep.record(store.images.store, image, [f"docker.io/library/{name}"], [])
    return image.id
