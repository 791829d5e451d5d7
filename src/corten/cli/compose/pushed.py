"""A project's files into a registry, as an artifact; with the images of its services where that is asked for."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time

from corten.cli.compose.registries import Registries
from corten.cli.output import write_all
from corten.compose.publishing import artifact
from corten.errors import Corrupt, Failed, Invalid
from corten.registry.client.documents import manifest
from corten.registry.client.errors import RETRY_STATUS, Refused
from corten.registry.client.push import Push
from corten.registry.client.repository import translate
from corten.spec import digest as digests
from corten.spec import oci_image
from corten.spec.oci_image import Descriptor, Index
from corten.spec.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from corten.cli.userconfig import UserConfig
    from corten.compose.publishing.artifact import Layer
    from corten.registry.client.repository import Repository
    from corten.spec.reference import Reference

    Json = dict[str, Any]

_PIECE = 1 << 20
_DEPTH = 3  # indexes within indexes


class Publication:
    """What is published: `images` are names of the services' images, of which all platforms come along. `version` is
    of OCI's specification; "" is the newest that the registry takes."""

    def __init__(self, reference: Reference, layers: Sequence[Layer], version: str, images: Sequence[str]) -> None:
        self.reference = reference
        self.layers = tuple(layers)
        self.version = version
        self.images = tuple(images)


def publish(publication: Publication, config: UserConfig, insecure: Sequence[str]) -> str:
    """The digest of its manifest. Raises CortenError."""
    return asyncio.run(_publish(publication, config, insecure))


async def _publish(publication: Publication, config: UserConfig, insecure: Sequence[str]) -> str:
    contents = {digests.of(each.content): each.content for each in publication.layers}
    contents[digests.of(artifact.EMPTY)] = artifact.EMPTY
    async with Registries(config, insecure) as registries:
        with _Contents() as blobs:
            push = Push(registries.repository(publication.reference), blobs)
            for digest, content in contents.items():
                blobs.add(digest, content)
                await push.blob(Descriptor("", digest, len(content)), (), _nothing, _nothing)
            body = await _manifest(push, publication)
        if publication.images:
            found = [await _Copy(registries, publication.reference).image(name) for name in publication.images]
            index = artifact.application(found, body)
            await push.manifest(index, artifact.INDEX, digests.of(index), _nothing)
    return digests.of(body)


async def _manifest(push: Push, publication: Publication) -> bytes:
    """Put under the tag; what an old registry refuses is said in the words of OCI 1.0."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    tag = publication.reference.tag
    for version in (publication.version,) if publication.version else artifact.VERSIONS:
        body = artifact.manifest(publication.layers, version, created)
        try:
            await push.manifest(body, artifact.MANIFEST, tag, _nothing)
        except (Invalid, Failed):
            if version == artifact.VERSIONS[-1] or publication.version:
                raise
            continue
        return body
    raise AssertionError("there is a version of the specification")


def _nothing(amount: float) -> None:
    """Of progress: files are small, and images say when they are done."""


class _Contents:
    """Blobs to be pushed, as files without a name."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}

    def add(self, digest: str, content: bytes) -> None:
        write_all(self.create(digest), content)

    def create(self, digest: str) -> int:
        """An empty file for a blob, in the place of one that was begun."""
        self.forget(digest)
        self._fds[digest], path = tempfile.mkstemp(prefix="corten-publish-")
        os.unlink(path)
        return self._fds[digest]

    def forget(self, digest: str) -> None:
        if (fd := self._fds.pop(digest, None)) is not None:
            os.close(fd)

    def open(self, digest: str) -> int:
        """See `push.Contents`."""
        return os.dup(self._fds[digest])

    def __enter__(self) -> _Contents:
        return self

    def __exit__(self, *error: object) -> None:
        for digest in list(self._fds):
            self.forget(digest)


class _Copy:
    """Images from where they are into the repository of a project, all platforms of each."""

    def __init__(self, registries: Registries, target: Reference) -> None:
        self._registries = registries
        self._target = target

    async def image(self, name: str) -> Json:
        """Its descriptor there."""
        reference = parse(name).tagged
        source = self._registries.repository(reference)
        with _Contents() as blobs:
            push = Push(self._registries.repository(self._target), blobs)
            beside = [reference.path] if reference.domain == self._target.domain else []
            push.mounting(beside)
            one = _One(source, reference, push, blobs, beside)
            return await one.copied(reference, ())


class _One:
    """One image on its way. What is below a manifest is there before it."""

    def __init__(
        self, source: Repository, reference: Reference, push: Push, blobs: _Contents, beside: Sequence[str]
    ) -> None:
        self._source = source
        self._reference = reference
        self._push = push
        self._blobs = blobs
        self._beside = beside

    async def copied(self, reference: Reference, above: tuple[str, ...]) -> Json:
        found = await manifest(self._source, reference)
        if found.digest in above or len(above) > _DEPTH:
            raise Invalid(f"{reference.familiar}: an index within itself")
        document = oci_image.parse_manifest(found.body, found.content_type)
        if isinstance(document, Index):
            for each in document.manifests:
                await self.copied(reference.with_digest(each.digest), (*above, found.digest))
        else:
            for blob in {each.digest: each for each in (document.config, *document.layers)}.values():
                if not oci_image.is_foreign(blob):
                    await self._blob(blob)
        await self._push.manifest(found.body, document.media_type, found.digest, _nothing)
        return artifact.described(document.media_type, found.body)

    async def _blob(self, blob: Descriptor) -> None:
        if await self._push.found(blob, self._beside, _nothing) is not None:
            return
        await self._source.retry(lambda: self._download(blob))
        await self._push.blob(blob, (), _nothing, _nothing)
        self._blobs.forget(blob.digest)

    async def _download(self, blob: Descriptor) -> None:
        """Whole and verified, into a file."""
        fd, hasher, size = self._blobs.create(blob.digest), digests.hasher(blob.digest), 0
        try:
            async with self._source.get(f"blobs/{blob.digest}", {}) as response:
                async for piece in response.content.iter_chunked(_PIECE):
                    size += len(piece)
                    if size > blob.size:
                        break
                    hasher.update(piece)
                    write_all(fd, piece)
        except Refused as error:
            if error.refusal.status in RETRY_STATUS:
                raise
            raise translate(error, blob.digest, self._source.name) from error
        if size != blob.size or hasher.hexdigest() != digests.split(blob.digest)[1]:
            raise Corrupt(f"digest mismatch: registry serves something else as {blob.digest}")
