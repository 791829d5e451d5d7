"""A directory of blobs that a client has (`containerd.services.content.v1.Content` of its session): an OCI layout that
is to be filled, or a cache of builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from corten.build.patience import patient
from corten.buildkit.sessions import Session
from corten.errors import Corrupt, Failed, Invalid, NotFound, Unavailable
from corten.http2 import grpc
from corten.http2.channel import StreamReset
from corten.spec.oci_image import Descriptor
from corten.spec.protobuf import content as m

_SERVICE = "/containerd.services.content.v1.Content/"
_STORE = "buildkit-attachable-store-id"
_PIECE = 1 << 20  # bytes of a message
_THERE = 6  # gRPC's ALREADY_EXISTS
_WAIT = 60.0  # seconds for a small answer


class ContentStore:
    """`name` is what the client calls it. Raises Invalid when it offers none, Failed for its errors, Unavailable when
    it has gone."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name

    async def size(self, digest: str) -> int:
        """Of a blob, in bytes. Raises NotFound."""
        request = m.InfoRequest(digest).encode()
        with_store = [(_STORE, self._name)]
        self._check("Info")
        try:
            answer = await grpc.unary(self._session.channel, _SERVICE + "Info", request, with_store, _WAIT)
        except grpc.Status as status:
            raise _translated(status, self._name) from None
        found = m.InfoResponse.decode(answer).info
        if found is None or found.size < 0:
            raise Failed(f"the client's store {self._name[:200]} says nothing of {digest}")
        return found.size

    async def read(self, blob: Descriptor) -> AsyncIterator[bytes]:
        """A blob. Raises NotFound; Corrupt when it is longer or shorter than is said: its digest is the reader's to
        compare."""
        left = blob.size
        async with self._call("Read") as call:
            await call.send(m.ReadRequest(blob.digest).encode(), end=True)
            while (message := await patient(call.receive())) is not None:
                data = m.ReadResponse.decode(message).data
                left -= len(data)
                if left < 0:
                    raise Corrupt(f"blob {blob.digest} of the client's store {self._name[:200]} is too long")
                yield data
            grpc.finish(call.stream)
            if left:
                raise Corrupt(f"blob {blob.digest} of the client's store {self._name[:200]} is too short")

    async def write(self, blob: Descriptor, pieces: AsyncIterator[bytes]) -> None:
        """A blob, unless it is there."""
        first = m.WriteRequest(m.WRITE, f"corten-{blob.digest}", blob.size, blob.digest)
        async with self._call("Write") as call:
            try:
                offset = 0
                await _answered(call, first)
                async for piece in pieces:
                    for at in range(0, len(piece), _PIECE):
                        data = piece[at : at + _PIECE]
                        await _answered(call, m.WriteRequest(m.WRITE, "", 0, "", offset, data))
                        offset += len(data)
                await _answered(call, m.WriteRequest(m.COMMIT, "", blob.size, blob.digest, offset))
            except grpc.Status as status:
                if status.code != _THERE:
                    raise

    @asynccontextmanager
    async def _call(self, method: str) -> AsyncIterator[grpc.Call]:
        self._check(method)
        try:
            path = _SERVICE + method
            async with grpc.calling(self._session.channel, path, [(_STORE, self._name)]) as call:
                yield call
        except grpc.Status as status:
            raise _translated(status, self._name) from None
        except StreamReset as reset:
            raise Unavailable(f"the client ended a transfer of its store {self._name[:200]}: {reset}") from None

    def _check(self, method: str) -> None:
        if not self._session.has(_SERVICE + method):
            raise Invalid("the client offers no store of blobs")


async def _answered(call: grpc.Call, request: m.WriteRequest) -> None:
    """Each message has an answer; an error is in the trailers."""
    await patient(call.send(request.encode()))
    if await patient(call.receive()) is None:
        grpc.finish(call.stream)
        raise Failed("the client's store ended before a blob was written")


def _translated(status: grpc.Status, name: str) -> NotFound | Failed:
    kind = NotFound if status.code == grpc.NOT_FOUND else Failed
    return kind(f"the client's store {name[:200]}: {status}")
