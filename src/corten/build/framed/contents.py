"""`corten.build.outputs.contract.ClientStore` over a connection of frames: a directory of blobs, for caches."""

from __future__ import annotations

from collections.abc import AsyncIterator

from corten.aio.sources import closing
from corten.build.framed.connection import Connection
from corten.build.framed.sink import sent
from corten.build.patience import patient
from corten.errors import Corrupt, Failed, Invalid, NotFound
from corten.spec import build_frames as f
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor

_DIGITS = 19  # of a size


class FramedStore:
    """`name` is what the client calls it."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def size(self, digest: str) -> int:
        found = b""
        async with closing(self._pieces("blob size", digest)) as pieces:
            async for piece in pieces:
                found += piece
                if len(found) > _DIGITS:
                    break
        if not found.isdigit() or len(found) > _DIGITS:
            raise Invalid(f"the client's store {self._name[:200]} has no number for the size of {digest}")
        return int(found)

    async def read(self, blob: Descriptor) -> AsyncIterator[bytes]:
        left = blob.size
        async with closing(self._pieces("blob read", blob.digest)) as pieces:
            async for piece in pieces:
                left -= len(piece)
                if left < 0:
                    break
                yield piece
        if left:
            raise Corrupt(f"blob {blob.digest} of the client's store {self._name[:200]} has another size")

    async def write(self, blob: Descriptor, pieces: AsyncIterator[bytes]) -> None:
        with self._connection.call(self._question("blob write", blob.digest)) as channel:
            await sent(channel, pieces)

    def _question(self, what: str, digest: str) -> Json:
        return {"do": what, "store": self._name, "digest": digest}

    async def _pieces(self, what: str, digest: str) -> AsyncIterator[bytes]:
        with self._connection.call(self._question(what, digest)) as channel:
            while True:
                kind, data = await patient(channel.receive())
                if kind == f.ABSENT:
                    raise NotFound(f"the client's store {self._name[:200]} has no {digest}")
                if kind == f.ERROR:
                    raise Failed(f"error from the client's store: {data[:1000].decode('utf-8', 'replace')}")
                if kind != f.DATA:
                    return
                yield data
