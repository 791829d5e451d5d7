"""The layers of an image in another form: other compression, other times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from corten.aio.keyed_locks import KeyedLocks
from corten.aio.tasks import together
from corten.build.outputs.contract import Made
from corten.build.outputs.form import Layer
from corten.build.outputs.options import Form
from corten.errors import Corrupt
from corten.images import layout
from corten.images.packed import encoded, kept
from corten.layers.retimed import retimed
from corten.spec.oci_image import Descriptor, layer_compression
from corten.store.blobs import Blobs
from corten.store.encoding import Encoder
from corten.store.feed import Feed, Readers
from corten.store.leases import Lease

_AT_A_TIME = 4  # of one build
_Key = tuple[str, str, int | None, int | None]  # digest, compression, level, epoch


class Recoding:
    """For one build; each layer is done once for each form. What is made is leased."""

    def __init__(self, blobs: Blobs, lease: Lease) -> None:
        self._blobs = blobs
        self._lease = lease
        self._readers = Readers(_AT_A_TIME, "layers of outputs")
        self._room = asyncio.Semaphore(_AT_A_TIME)
        self._locks: KeyedLocks[_Key] = KeyedLocks()
        self._done: dict[_Key, Layer] = {}

    async def layers(self, image: Made, form: Form) -> Sequence[Layer]:
        """Lowest first. Raises Corrupt for a blob that is damaged, Exhausted, Failed."""
        return await together(
            self.layer(Layer(blob, diff), form, at >= image.inherited)
            for at, (blob, diff) in enumerate(zip(image.layers, image.document.diff_ids))
        )

    async def layer(self, layer: Layer, form: Form, own: bool) -> Layer:
        """`own` is one that the build has made."""
        key = _wanted(layer.blob, form, own)
        if key is None:
            return layer
        async with self._locks.lock(key):
            if key not in self._done:
                async with self._room:
                    body = layout.pieces(self._blobs, layer.blob.digest)
                    self._done[key] = await self._readers.run(body, lambda feed: self._recode(feed, key, layer))
        return self._done[key]

    def _recode(self, feed: Feed, key: _Key, layer: Layer) -> Layer:
        _, compression, level, epoch = key
        ingest = self._blobs.ingest()
        try:
            tar = feed.decoded()
            diff, _ = encoded(tar if epoch is None else retimed(tar, epoch), ingest, Encoder(compression, level))
            if epoch is None and diff != layer.diff_id:
                raise Corrupt(f"blob {layer.blob.digest} is damaged; pull or load the image again")
            return Layer(kept(self._blobs, ingest, compression, self._lease), diff)
        except BaseException:
            ingest.abort()
            raise


def _wanted(blob: Descriptor, form: Form, own: bool) -> _Key | None:
    """What is to be made of a layer; None when it stays as it is."""
    now = layer_compression(blob)
    asked = form.compression if form.compression is not None and (own or form.compression.force) else None
    kind = now if asked is None else asked.kind.replace("uncompressed", "tar")
    level = None if asked is None else asked.level
    epoch = form.epoch if form.rewrite and own else None
    if kind == now and level is None and epoch is None:
        return None
    return blob.digest, kind, level, epoch
