"""Layers that are made here: the tar of what was changed, hashed and compressed into a blob while it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from isal import isal_zlib

from corten.layers.timeless import Timeless
from corten.layers.write import END
from corten.spec import oci_image
from corten.spec.oci_image import Descriptor
from corten.store.blobs import Blobs, Ingest
from corten.store.feed import Feed, Readers
from corten.store.leases import Lease

_LEVEL = 1  # of igzip: a layer goes to a registry compressed, and this is about as quick as the disk


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer as a blob; `diff_id` is of the tar in it, `content` of the same without times (`layers.timeless`), or "".
    `empty`: nothing was changed, and there is no blob."""

    blob: Descriptor
    diff_id: str
    content: str
    empty: bool


class Packing:
    """Makes blobs of layers, so many at a time. `what` names what they are of in the error of one that is refused.
    `contents`: with the digest without times, which is a second hash of everything."""

    def __init__(self, blobs: Blobs, limit: int, what: str, contents: bool = False) -> None:
        self._blobs = blobs
        self._readers = Readers(limit, what)
        self._contents = contents

    async def take(self, layer: AsyncIterator[bytes], lease: Lease) -> Packed:
        """The blob of an uncompressed tar, on disk and leased. Nothing is left of one that breaks off.

        Raises what `layer` does, Unavailable, Exhausted, Failed.
        """
        return await self._readers.run(layer, lambda feed: self._take(feed, lease))

    def _take(self, feed: Feed, lease: Lease) -> Packed:
        ingest = self._blobs.ingest()
        try:
            return self._compress(feed, ingest, lease)
        except BaseException:
            ingest.abort()
            raise

    def _compress(self, feed: Feed, ingest: Ingest, lease: Lease) -> Packed:
        hash_, timeless, size = hashlib.sha256(), Timeless() if self._contents else None, 0
        codec = isal_zlib.compressobj(level=_LEVEL, wbits=31)  # 31: in gzip's form
        for piece in feed.pieces():
            hash_.update(piece)
            if timeless is not None:
                timeless.update(piece)
            size += len(piece)
            ingest.write(codec.compress(piece))
        ingest.write(codec.flush())
        lease.add("blob", ingest.digest)
        blob = Descriptor(oci_image.OCI_LAYER + "+gzip", ingest.digest, ingest.offset)
        if size <= len(END) or self._blobs.has(ingest.digest):
            ingest.abort()
        else:
            ingest.commit()
        content = timeless.digest if timeless is not None else ""
        return Packed(blob, "sha256:" + hash_.hexdigest(), content, size <= len(END))
