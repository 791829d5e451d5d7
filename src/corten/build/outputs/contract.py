"""What outputs are made of, and the seams around them.

Words used here:

result     what a build has made: an image, or several of an index, for several platforms
form       how a result is written down: media types, compression, times, annotations; each output may have another one
content    a result in one form: documents (configurations, manifests, an index) and layers
output     what is done with it; its number is its place among those that the client asked for
sink       where a face takes what goes to its client

A sink is a face's. It knows nothing of images, and an output nothing of protocols:

    async def file(self, output, answer, pieces):          # ours: frames on an upgraded connection
        async for piece in pieces:
            await self.write(DATA, output, piece)          # waits for a slow client: nothing is made meanwhile
        await self.write(END, output)

    async def tree(self, output, tree):
        async with tree.tar() as pieces:                   # one way; `tree.walk()` is fsutil's
            ...

A client that disconnects makes the sink raise, which ends the build. What was made for an output is gone then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from corten.errors import Unsupported
from corten.spec.image_config import ImageConfig
from corten.spec.oci_image import Descriptor
from corten.spec.platform import Platform

IMAGES = ("image", "moby")  # types of outputs that are the image store, in the words of clients


@dataclass(frozen=True, slots=True)
class Predicate:
    """What is attested of an image. `type` is its address, `body` JSON, `file` its name where the result is a
    directory. `inline`: such a result is to be without it, and everything else that is no image."""

    type: str
    body: bytes
    file: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """The image of one platform. `document` is its configuration as the build has made it, `layers` are blobs of the
    store, lowest first, of which the first `inherited` are the base image's; `top` is the name of its tree, None when
    it has no files. `cache` is what its configuration has of a build's cache (`exchange.config`), "" without."""

    platform: Platform
    document: ImageConfig
    layers: tuple[Descriptor, ...]
    top: str | None
    inherited: int = 0
    cache: str = ""
    predicates: tuple[Predicate, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """`index`: an index was asked for, of however many images. `epoch`: SOURCE_DATE_EPOCH, seconds."""

    images: tuple[Made, ...]
    index: bool = False
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """An image of a content. `made` has the configuration and the layers that it has in this form."""

    made: Made
    config: Descriptor
    manifest: Descriptor


@dataclass(frozen=True, slots=True)
class Content:
    """`root` is a manifest or an index. `documents` are by digest, each behind those that it names; `layers` are blobs
    of the store, each once. `attached` are those of the documents that attest something, in the same order."""

    root: Descriptor
    images: tuple[Written, ...]
    documents: Mapping[str, bytes]
    layers: tuple[Descriptor, ...]
    attached: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtraFile:
    """A file beside a tree's own, directly in its directory: mode 0600, root's."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class PlatformTree:
    """The files of one image, in the directory `directory` ("": at the top)."""

    top: str | None
    directory: str = ""
    extra: tuple[ExtraFile, ...] = ()


class Walk(Protocol):
    """A tree as fsutil's sender says it (`corten.layers.sending`)."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Its packets, each with gRPC's length before it. They end when `finish` was called and all is said."""

    async def ask(self, numbers: Sequence[int]) -> None:
        """Send the contents of these entries. May be called while `pieces` waits. Numbers that are none of an entry
        with contents, or were asked for, end the walk with Invalid."""

    def finish(self) -> None:
        """The receiver has everything."""


class TreeReader(Protocol):
    """Reads trees of the store in confined processes, which end with their blocks.

    `epoch` takes the place of all times. Raises what a helper process raises: Failed, Unavailable; Invalid for an extra
    file of the name of one that is there.
    """

    def tar(
        self, trees: Sequence[PlatformTree], epoch: int | None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...

    def walk(self, trees: Sequence[PlatformTree], epoch: int | None) -> AbstractAsyncContextManager[Walk]: ...

    async def digests(self, top: str | None) -> dict[str, str]:
        """Of the regular files of a tree (None: there are none), by path."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory for a client, to be read once, in one of two ways: a tar, or fsutil's transfer."""

    reader: TreeReader
    trees: tuple[PlatformTree, ...]
    epoch: int | None = None

    def tar(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self.reader.tar(self.trees, self.epoch)

    def walk(self) -> AbstractAsyncContextManager[Walk]:
        return self.reader.walk(self.trees, self.epoch)


class Sink(Protocol):
    """Where a client takes outputs. Each call returns when the client has all of it, and raises what ended that:
    Failed for the client's own error, Unavailable when it has gone. Calls of several outputs come side by side."""

    async def file(self, output: int, answer: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        """A file. `answer` is what is known of its content (`answers`)."""

    async def tree(self, output: int, tree: Tree) -> None:
        """A directory."""

    async def blobs(self, output: int, blobs: Blobs) -> None:
        """Blobs for a content store that the client has (an OCI layout of which it writes the index itself)."""

    def contents(self, name: str) -> ClientStore:
        """Another store of the client, for caches."""


class ClientStore(Protocol):
    """A directory of blobs that a client has. Raises NotFound, Invalid when it offers none, Failed, Unavailable."""

    async def size(self, digest: str) -> int:
        """Of a blob, in bytes."""

    def read(self, blob: Descriptor) -> AsyncIterator[bytes]:
        """Corrupt for one of another size; the digest is the reader's to compare."""

    async def write(self, blob: Descriptor, pieces: AsyncIterator[bytes]) -> None:
        """Nothing is written when it is there already."""


class Blobs(Protocol):
    """Documents and layers of a content, each behind those that it names."""

    @property
    def descriptors(self) -> Sequence[Descriptor]: ...

    def pieces(self, blob: Descriptor) -> AsyncIterator[bytes]: ...


class NoSink:
    """Of a face whose clients take no files."""

    async def file(self, output: int, answer: Mapping[str, str], pieces: AsyncIterator[bytes]) -> None:
        raise self._refusal

    async def tree(self, output: int, tree: Tree) -> None:
        raise self._refusal

    async def blobs(self, output: int, blobs: Blobs) -> None:
        raise self._refusal

    def contents(self, name: str) -> ClientStore:
        raise self._refusal

    @property
    def _refusal(self) -> Unsupported:
        return Unsupported(
            "this client takes no files from a build: its outputs and caches are the image store and registries"
        )


NO_SINK = NoSink()
