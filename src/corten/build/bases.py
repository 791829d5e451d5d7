"""The images that a build begins with or reads from: those of the store, or pulled with the client's credentials."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from corten.aio.sources import closing
from corten.build.contract import BuildRequest, Client, Status, Trace
from corten.build.plan.keys import digest
from corten.build.vertices import vertex
from corten.errors import CortenError, Failed, Invalid, NotFound
from corten.images.image import Image
from corten.images.images import Images
from corten.spec import platform as platforms
from corten.spec.json import Json
from corten.spec.reference import Reference, parse
from corten.store.leases import Lease

_DONE = ("Pull complete", "Already exists", "Download complete", "Pushed", "Layer already exists", "Mounted from")
_HUB = "docker.io"


class Bases:
    """For one build. What is found is leased."""

    def __init__(self, images: Images, client: Client, request: BuildRequest, lease: Lease, trace: Trace) -> None:
        self._images = images
        self._client = client
        self._request = request
        self._lease = lease
        self._trace = trace

    async def resolve(self, ref: str, platform: str) -> tuple[Image, str]:
        """The image, and its name as it is shown. `platform` "" is any that is here, else this machine's.

        Raises NotFound for one that is neither here nor at its registry, and what a pull raises.
        """
        reference = _reference(ref)
        shown = str(reference) if reference is not None else ref
        id = digest("metadata", shown, platform)
        several = f"{platform} " if "," in self._request.platform else ""
        async with vertex(self._trace, id, f"[{several}internal] load metadata for {shown}"):
            image = None if self._request.pull and reference is not None else await self._here(ref, platform)
            if image is None:
                if reference is None:
                    raise NotFound(f"No such image: {ref}")
                try:
                    await self._pull(reference, platform, id)
                except CortenError as error:
                    if self._request.classic:
                        raise
                    raise type(error)(f"{ref}: failed to resolve source metadata for {shown}: {error}") from error
                image = await self._images.provide(ref, platforms.parse(platform) if platform else None)
            self._hold(image)
        return image, shown

    def _hold(self, image: Image) -> None:
        record = self._images.store.records.get(image.id)
        if record is not None:
            record.must_be_whole()
            self._lease.add("blob", *record.blobs)
            self._lease.add("snapshot", *record.chain)

    async def _here(self, ref: str, platform: str) -> Image | None:
        """None when there is none, or it is for another platform than was asked for."""
        try:
            return await self._images.provide(ref, platforms.parse(platform) if platform else None)
        except NotFound:
            return None

    async def _pull(self, reference: Reference, platform: str, id: str) -> None:
        auth = await credentials(self._client, reference.domain)
        messages = self._images.pull(str(reference), None, platform or None, auth)
        await _follow(messages, id, self._trace)


async def credentials(client: Client, domain: str) -> Json | None:
    """What the client has for a registry, as its requests carry it."""
    found = await client.credentials(domain)
    if found is None:
        return None
    user, secret = found
    server = "https://index.docker.io/v1/" if domain == _HUB else domain
    named = {"username": user, "password": secret} if user else {"identitytoken": secret}
    return {**named, "serveraddress": server}


def _reference(ref: str) -> Reference | None:
    """None for the id of an image."""
    if ref.startswith("sha256:"):
        return None
    try:
        return parse(ref).tagged
    except Invalid as error:
        raise Invalid(f"failed to parse stage name {ref!r}: invalid reference format: {error}") from error


async def _follow(messages: AsyncIterator[Json], vertex: str, trace: Trace) -> None:
    """A pull's messages as rows of the vertex. Raises Failed for an error among them."""
    rows = Rows(vertex, trace)
    async with closing(messages):
        async for message in messages:
            if error := message.get("error"):
                raise Failed(str(error))
            rows(message)


class Rows:
    """Docker's messages of a pull or a push as rows of a vertex, one for each layer."""

    def __init__(self, vertex: str, trace: Trace) -> None:
        self._vertex = vertex
        self._trace = trace
        self._began: dict[str, float] = {}

    def __call__(self, message: Json) -> None:
        layer = message.get("id")
        if not layer or "progressDetail" not in message:
            return
        started = self._began.setdefault(layer, time.time())
        detail, status = message["progressDetail"], str(message.get("status", ""))
        completed = time.time() if status.startswith(_DONE) else 0.0
        current, total = detail.get("current") or 0, detail.get("total") or 0
        self._trace(Status(layer, self._vertex, current, total, started, completed))
