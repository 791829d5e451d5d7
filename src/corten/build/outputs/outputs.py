"""The outputs of one build, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corten.aio.tasks import together
from corten.build.contract import Client, Trace
from corten.build.outputs import answers, archives, registry, store, trees
from corten.build.outputs import form as forms
from corten.build.outputs.contract import Content, Result, Sink, TreeReader
from corten.build.outputs.layers import Recoding
from corten.build.outputs.options import ArchiveOutput, Form, ImageOutput, Output, TreeOutput
from corten.build.plan.keys import digest
from corten.build.vertices import Row, status, vertex
from corten.images.images import Images
from corten.spec.reference import familiar
from corten.store.leases import Lease

_NAMES = {"oci": "exporting to oci image format", "docker": "exporting to docker image format"}


class Outputs:
    """`lease` holds the result's layers and trees, and what is made here besides. `stored` is the id of an image that
    was put into the store, "" without, and `kept` its content."""

    def __init__(
        self, images: Images, reader: TreeReader, client: Client, sink: Sink, trace: Trace, lease: Lease
    ) -> None:
        self._images = images
        self._reader = reader
        self._client = client
        self._sink = sink
        self._trace = trace
        self._lease = lease
        self._recoding = Recoding(images.store.blobs, lease)
        self.stored = ""
        self.kept: Content | None = None

    async def deliver(self, result: Result, outputs: Mapping[int, Output]) -> dict[str, str]:
        """Do them all. The answer for the client; where they say the same, the last one's.

        The first that fails ends the others, and is raised when all have ended: what the sink raises, what a registry
        refuses; Invalid, Unsupported, Exhausted.
        """
        found = await together(self._one(result, number, each) for number, each in outputs.items())
        return {key: value for answer in found for key, value in answer.items()}

    async def content(self, result: Result, form: Form, names: Sequence[str]) -> Content:
        """The result written down, its layers leased. `names` are those that it gets."""
        found = await forms.content(result, form, self._recoding, names)
        self._lease.add("blob", *(layer.digest for layer in found.layers))
        return found

    async def keep(self, found: Content) -> None:
        """In the image store, without a name."""
        self.stored, self.kept = await store.store(self._images.store, found, (), self._lease), found

    async def _one(self, result: Result, number: int, output: Output) -> dict[str, str]:
        match output:
            case ImageOutput():
                return await self._image(result, number, output)
            case ArchiveOutput():
                return await self._archive(result, number, output)
            case TreeOutput():
                return await self._tree(result, number, output)

    async def _image(self, result: Result, number: int, output: ImageOutput) -> dict[str, str]:
        async with vertex(self._trace, digest("export", number), "exporting to image") as row:
            found, id = await self._written(result, output, row.digest), ""
            if output.store:
                names = () if output.by_digest else output.names
                self.stored = id = await store.store(self._images.store, found, names, self._lease)
                self.kept = found
                for text in (f"writing image {id}", *(f"naming to {name}" for name in names)):
                    with status(self._trace, text, row.digest):
                        pass
                for name in names:
                    self._images.publish("tag", id, {"name": familiar(name)})
            if output.push:
                where = Row(row.digest, self._trace)
                await registry.push(self._images, output, found, id, self._client, self._lease, where)
        return answers.of(found, output.form, output.names, "" if output.push else id)

    async def _archive(self, result: Result, number: int, output: ArchiveOutput) -> dict[str, str]:
        name = _NAMES["docker" if output.docker else "oci"]
        async with vertex(self._trace, digest("export", number), name) as row:
            found = await self._written(result, output, row.digest)
            with status(self._trace, "sending tarball", row.digest):
                return await archives.deliver(output, number, found, self._images.store.blobs, self._sink)

    async def _tree(self, result: Result, number: int, output: TreeOutput) -> dict[str, str]:
        name = "exporting to client tarball" if output.tar else "exporting to client directory"
        async with vertex(self._trace, digest("export", number), name) as row:
            with status(self._trace, "sending tarball" if output.tar else "copying files", row.digest):
                return await trees.deliver(output, number, result, self._reader, self._sink)

    async def _written(self, result: Result, output: ImageOutput | ArchiveOutput, vertex: str) -> Content:
        with status(self._trace, "exporting layers", vertex):
            return await self.content(result, output.form, output.names)
