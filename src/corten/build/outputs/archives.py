"""type=oci and type=docker: a content as one tar. The same content gives the same tar."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from corten.aio.sources import closing
from corten.build.outputs import answers
from corten.build.outputs.contract import Content, Sink
from corten.build.outputs.form import descriptor
from corten.build.outputs.options import ArchiveOutput
from corten.errors import Invalid
from corten.images import layout
from corten.spec import oci_image
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor
from corten.spec.reference import parse
from corten.store.blobs import Blobs

_CREATED = "org.opencontainers.image.created"


async def deliver(output: ArchiveOutput, number: int, found: Content, blobs: Blobs, sink: Sink) -> dict[str, str]:
    """Its answer. The layers are leased by the caller. Raises what the sink does; Invalid for an index for Docker."""
    if output.docker and found.root.media_type in oci_image.INDEXES:
        raise Invalid("docker exporter does not currently support exporting manifest lists")
    answer = answers.of(found, output.form, output.names)
    if output.tar:
        async with closing(_tar(output, found, blobs)) as pieces:
            await sink.file(number, answer, pieces)
    else:
        await sink.blobs(number, StoredContent(found, blobs))
    return answer


async def _tar(output: ArchiveOutput, found: Content, blobs: Blobs) -> AsyncIterator[bytes]:
    layers = [layer.digest for layer in found.layers]
    names = sorted({*layers, *found.documents})
    for name in ("blobs/", "blobs/sha256/"):
        yield layout.directory(name)
    for digest in names:
        if digest in found.documents:
            yield layout.file(layout.path(digest), found.documents[digest])
            continue
        async with closing(layout.member(blobs, digest)) as member:
            async for piece in member:
                yield piece
    for name, document in _indexes(output, found):
        yield layout.file(name, layout.json_of(document))
    yield layout.END


def _indexes(output: ArchiveOutput, found: Content) -> list[tuple[str, Json | list[Json]]]:
    created = found.images[0].made.document.created
    root = descriptor(found, output.form, {_CREATED: created} if created else None)
    named = [{**root, "annotations": {**root.get("annotations", {}), **layout.named(name)}} for name in output.names]
    index: Json = {"schemaVersion": 2, "mediaType": oci_image.OCI_INDEX, "manifests": named or [root]}
    manifests = [("manifest.json", [_docker(output.names, found)])] if output.docker else []
    return [("index.json", index), *manifests, ("oci-layout", {"imageLayoutVersion": "1.0.0"})]


def _docker(names: Sequence[str], found: Content) -> Json:
    image = found.images[0]
    return {
        "Config": layout.path(image.config.digest),
        "RepoTags": [parse(name).familiar for name in names] or None,
        "Layers": [layout.path(layer.digest) for layer in image.made.layers],
    }


class StoredContent:
    """`corten.build.outputs.contract.Blobs`."""

    def __init__(self, found: Content, blobs: Blobs) -> None:
        self._found = found
        self._blobs = blobs

    @property
    def descriptors(self) -> Sequence[Descriptor]:
        found = self._found
        images = [part for image in found.images for part in (image.config, image.manifest)]
        return list({each.digest: each for each in (*found.layers, *images, *found.attached, found.root)}.values())

    async def pieces(self, blob: Descriptor) -> AsyncIterator[bytes]:
        if blob.digest in self._found.documents:
            yield self._found.documents[blob.digest]
            return
        async with closing(layout.pieces(self._blobs, blob.digest)) as pieces:
            async for piece in pieces:
                yield piece
