"""Archives that leave layers out: what is missing in one is taken from the images that are here.

A layer is known by the digest of its uncompressed tar, so that the image at hand may have it in another compression
than the sender had; the manifest is then written anew. The image's id stays what it was.
"""

from __future__ import annotations

from dataclasses import replace

from corten.errors import Failed, Invalid
from corten.images.save import SINCE
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.image_config import parse_config
from corten.spec.oci_image import Descriptor, Manifest
from corten.store.blobs import Blobs
from corten.store.images import ImageRecords
from corten.store.leases import Lease


def since(index: bytes) -> str:
    """The image whose layers an archive leaves out, as its index says; "" when it says nothing."""
    try:
        entries = oci_image.entries(index) if index else []
    except Invalid:
        return ""
    names = (entry.get("annotations", {}).get(SINCE) for entry in entries)
    return next((name[:200] for name in names if name), "")


class Delta:
    """`new` takes what is made. `name` is the image whose layers are left out, for the error when it is not here."""

    def __init__(self, blobs: Blobs, records: ImageRecords, lease: Lease, new: set[str], name: str) -> None:
        self._blobs = blobs
        self._records = records
        self._lease = lease
        self._new = new
        self._name = name
        self._known: dict[str, list[Descriptor]] | None = None

    def layer(self, shown: object, diff: str) -> Descriptor:
        """A blob that is here, of the layer whose tar has the digest `diff`. Raises Failed with the layer's name."""
        for blob in self._here().get(diff, ()):
            self._lease.add("blob", blob.digest)  # before looking whether it is there
            if self._blobs.has(blob.digest):
                return blob
        where = f"; it is one of {self._name}: load or pull that first" if self._name else ""
        place = f" ({str(shown)[:200]})" if shown != diff else ""
        raise Failed(f"archive lacks layer {diff}{place}, and no image here has it{where}")

    def complete(self, manifest: Manifest, digest: str, config: bytes) -> tuple[Manifest, str]:
        """A manifest all of whose layers are here, and its digest."""
        lacking = [layer for layer in manifest.layers if not self._blobs.has(layer.digest)]
        if not lacking:
            return manifest, digest
        diffs = parse_config(config).diff_ids
        if len(diffs) != len(manifest.layers):
            return manifest, digest  # no delta but nonsense, which is refused as such
        layers = tuple(
            self.layer(layer.digest, diff) if layer in lacking else layer for layer, diff in zip(manifest.layers, diffs)
        )
        body = oci_image.render_manifest(manifest.config, layers)
        name = digests.of(body)
        self._lease.add("blob", name)
        self._new.add(self._blobs.put(body))
        return replace(manifest, layers=layers, media_type=oci_image.OCI_MANIFEST), name

    def _here(self) -> dict[str, list[Descriptor]]:
        """Layers of all images, by the digest of their tar."""
        if self._known is None:
            self._known = {}
            for record in self._records.all():
                for diff, blob in zip(record.config.diff_ids, record.layers):
                    self._known.setdefault(diff, []).append(blob)
        return self._known
