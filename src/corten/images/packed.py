"""Layers that are made here: the tar of what was changed, hashed and compressed into a blob while it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from corten.layers.timeless import Digests, Timeless
from corten.layers.write import END
from corten.spec import oci_image
from corten.spec.oci_image import Descriptor
from corten.store.beside import Beside, Piece
from corten.store.blobs import Blobs, Ingest
from corten.store.encoding import Encoder
from corten.store.feed import Readers
from corten.store.leases import Lease
from corten.store.pipes import Pipe


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
    `contents`: with the digest without times, which is a second hash of all contents that are not known."""

    def __init__(self, blobs: Blobs, limit: int, what: str, contents: bool = False) -> None:
        self._blobs = blobs
        self._readers = Readers(limit, what)
        self._contents = contents

    async def take(self, layer: AsyncIterator[bytes], lease: Lease) -> Packed:
        """The blob of an uncompressed tar, on disk and leased. Nothing is left of one that breaks off.

        Raises what `layer` does, Unavailable, Exhausted, Failed.
        """
        return await self._readers.run(layer, lambda feed: self._take(feed.pieces(), lease))

    async def drain(self, pipe: Pipe, lease: Lease, digests: int = -1) -> Packed:
        """The same of a tar that another process sends; `digests` is a file of those of its contents that are known
        (`layers.timeless.Digests`). Raises what the pipe does too."""
        known = Digests(digests) if digests >= 0 else None
        return await self._readers.drain(pipe, lambda stream: self._take(stream.pieces(), lease, known))

    def _take(self, tar: Iterable[Piece], lease: Lease, known: Digests | None = None) -> Packed:
        ingest = self._blobs.ingest()
        try:
            return self._compress(tar, ingest, lease, known)
        except BaseException:
            ingest.abort()
            raise

    def _compress(self, tar: Iterable[Piece], ingest: Ingest, lease: Lease, known: Digests | None) -> Packed:
        timeless = Timeless(known) if self._contents else None
        diff_id, size = encoded(tar, ingest, Encoder("gzip"), timeless)
        blob = kept(self._blobs, ingest, "gzip", lease, size <= len(END))
        content = timeless.digest if timeless is not None else ""
        return Packed(blob, diff_id, content, size <= len(END))


def encoded(
    tar: Iterable[Piece], ingest: Ingest, encoder: Encoder, timeless: Timeless | None = None
) -> tuple[str, int]:
    """Write a layer's tar to `ingest`, compressed by a thread beside; its digest and its bytes."""
    hash_, size = hashlib.sha256(), 0
    with Beside(lambda piece: ingest.write(encoder.feed(piece))) as beside:
        for piece in tar:
            beside.put(piece)
            hash_.update(piece)
            if timeless is not None:
                timeless.update(piece)
            size += len(piece)
    ingest.write(encoder.finish())
    return "sha256:" + hash_.hexdigest(), size


def kept(blobs: Blobs, ingest: Ingest, compression: str, lease: Lease, empty: bool = False) -> Descriptor:
    """Make it a blob, leased, unless it is there already, or is not to be."""
    lease.add("blob", ingest.digest)
    blob = Descriptor(oci_image.layer_type(compression, docker=False), ingest.digest, ingest.offset)
    if empty or blobs.has(ingest.digest):
        ingest.abort()
    else:
        ingest.commit()
    return blob
