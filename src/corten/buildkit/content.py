"""containerd.services.content.v1.Content, as far as clients read what a build has made: manifests, indexes,
attestations. Layers are an image's, and are had by its registry or an archive."""

from __future__ import annotations

from corten.build.builds import Builds
from corten.errors import Invalid
from corten.http2.grpc import Call, Function, begin
from corten.spec.protobuf import control as m

_PREFIX = "/containerd.services.content.v1.Content/"
_PIECE = 1 << 20  # bytes of a message


class ContentFace:
    """One for the daemon."""

    def __init__(self, builds: Builds) -> None:
        self._builds = builds

    def functions(self) -> dict[str, Function]:
        return {_PREFIX + "Info": self.info, _PREFIX + "Read": self.read}

    async def info(self, call: Call) -> bytes:
        """Raises NotFound, Invalid."""
        digest = m.InfoRequestOfContent.decode(await call.request()).digest
        data = await self._builds.document(digest)
        return m.InfoResponseOfContent(m.ContentInfo(digest, len(data))).encode()

    async def read(self, call: Call) -> None:
        """From `offset`, `size` bytes or all. Raises NotFound, Invalid."""
        request = m.ReadContentRequest.decode(await call.request())
        data = await self._builds.document(request.digest)
        if not 0 <= request.offset <= len(data) or request.size < 0:
            raise Invalid(f"offset {request.offset} is outside of the {len(data)} bytes of {request.digest[:100]}")
        end = min(len(data), request.offset + request.size) if request.size else len(data)
        begin(call.stream)
        for at in range(request.offset, end, _PIECE):
            piece = data[at : min(end, at + _PIECE)]
            await call.send(m.ReadContentResponse(at, piece).encode())
