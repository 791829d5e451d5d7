"""Members of archives of images: blobs as they are kept, and the documents that name them.

Deterministic: the same images give the same archive.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from corten.aio.sources import closing
from corten.layers import write
from corten.layers.header import DIRECTORY, REGULAR
from corten.spec import digest as digests
from corten.spec.reference import parse
from corten.store.blobs import Blobs

END = write.END
_PIECE = 1 << 20
_EPOCH = 0  # times of members


def path(digest: str) -> str:
    algorithm, value = digests.split(digest)
    return f"blobs/{algorithm}/{value}"


def directory(name: str) -> bytes:
    return write.header(name.encode(), DIRECTORY, mode=0o755, mtime=_EPOCH)


def file(name: str, body: bytes) -> bytes:
    """One member, whole."""
    head = write.header(name.encode(), REGULAR, mode=0o644, size=len(body), mtime=_EPOCH)
    return head + body + write.padding(len(body))


def json_of(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


async def member(blobs: Blobs, digest: str) -> AsyncIterator[bytes]:
    """A blob under its path. Raises NotFound."""
    size = blobs.size(digest)
    yield write.header(path(digest).encode(), REGULAR, mode=0o644, size=size, mtime=_EPOCH)
    async with closing(pieces(blobs, digest)) as body:
        async for piece in body:
            yield piece
    yield write.padding(size)


async def pieces(blobs: Blobs, digest: str) -> AsyncIterator[bytes]:
    """A blob. Raises NotFound."""
    fd = blobs.open(digest)
    try:
        while piece := await asyncio.to_thread(os.read, fd, _PIECE):
            yield piece
    finally:
        os.close(fd)


def named(tag: str) -> Mapping[str, str]:
    """Annotations of an index entry that is called so (canonical)."""
    return {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": parse(tag).tag}
