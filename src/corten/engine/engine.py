"""The engine: Docker's nouns as attributes, and its own beginning and end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

from corten.engine.containers import network as container_network
from corten.engine.containers import stop as container_stop
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.execs import Execs
from corten.engine.containers.tree import ContainerTrees, Trees
from corten.engine.image_gc import Gc
from corten.engine.parts import Parts
from corten.engine.system import System
from corten.errors import CortenError, NotFound
from corten.images.commit import Request
from corten.network.endpoint import Endpoint
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.filters import Filters
from corten.spec.json import Json


class Engine:
    """One daemon's engine; it knows no HTTP.

    engine = Engine(parts)
    await engine.open()          # takes up what an earlier daemon left
    container, warnings = await engine.containers.create("web", {"Image": "nginx"}, {}, {})
    await container_start.start(engine.containers, container)
    await engine.close()         # containers go on running
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.events = parts.events
        self.volumes = parts.volumes
        self.images: Any = parts.images
        self.networks: Any = parts.networks
        self.containers = Containers(parts)
        self.execs = Execs(self.containers)
        self.trees = ContainerTrees(cast(Trees, parts.snapshots), parts.tree_work, lambda: parts.facts)
        self.system = System(self)
        self.image_gc = Gc(self)
        self.containers.probe = self._probe
        parts.images.after_pull = lambda: parts.changing.spawn(self.image_gc.after_pull(), "image gc after a pull")
        self.networks.on_lost = self._lost
        self.networks.on_unnamed(self._unnamed)

    async def open(self) -> None:
        await self.containers.restore()
        self.parts.watching.spawn(self.image_gc.every_now_and_then(), "image gc")

    def _lost(self, endpoint: Endpoint) -> None:
        """Somebody took a container's device away."""
        container = self.containers.by_id.get(endpoint.container_id)
        if container is not None:
            work = container_network.reconnect(self.containers, container)
            self.parts.changing.spawn(work, f"connecting container {container.id} again")

    def _unnamed(self) -> None:
        """The name server died: another, with new sockets in every container."""
        for container in self.containers.by_id.values():
            if container.record.state.has_task:
                work = container_network.reconnect(self.containers, container)
                self.parts.changing.spawn(work, f"a name server for container {container.id}")

    async def settle(self) -> None:
        """Wait for everything that goes on behind the answers given so far."""
        await self.parts.changing.settle()
        await self.parts.networks.settle()

    async def close(self) -> None:
        """Let go of the containers, which go on running, and complete what is under way."""
        await self.parts.watching.cancel()
        await self.settle()
        for container in self.containers.by_id.values():
            container.close_pending()

    async def _probe(self, container: Container, command: list[str], seconds: float) -> tuple[int, str]:
        """One health check: exit code and output."""
        config = ExecConfig(cmd=command, attach_stdout=True, attach_stderr=True)
        try:
            return await self.execs.capture(container, config, seconds)
        except CortenError as error:
            return -1, str(error)

    async def commit(self, container: Container, wanted: Request) -> str:
        """An image of what the container is now; its id. It stands still meanwhile, unless told otherwise."""
        record = container.record
        async with (
            container_stop.still(self.containers, container, wanted.pause) as go_on,
            self.trees.layer(container) as layer,
        ):
            id: str = await self.images.commit(record.image_id, layer, wanted, record.config, go_on)
        name = f"{wanted.repo}:{wanted.tag or 'latest'}" if wanted.repo else ""
        attributes = container.attributes(comment=wanted.comment, imageID=id, imageRef=name)
        self.events.publish("container", "commit", container.id, attributes)
        return id

    def image_count(self) -> int:
        return len(self.images.list())

    def image_size(self, id: str) -> int:
        try:
            return int(self.images.resolve(id).size)
        except NotFound:
            return 0

    async def prune_images(self, filters: Filters, dangling: bool) -> tuple[list[Json], int]:
        """Remove the images that no container uses: only those without a name, when `dangling`. What went; bytes."""
        others = {key: values for key, values in filters.items() if key != "dangling"}
        chosen = Filters({**others, "dangling": ["true"]} if dangling else others)
        removed: list[Json] = []
        before = self.images.layers_size()
        for image in await asyncio.to_thread(self.images.list, chosen):
            if self.containers.users_of_image(image["Id"]):
                continue
            try:
                removed += await self.images.remove(image["Id"], force=True)
            except CortenError:  # somebody took it into use, or removed it, since we looked
                continue
        freed = max(0, before - self.images.layers_size())
        self.events.publish("image", "prune", "", {"reclaimed": str(freed)})
        return removed, freed

    async def image_usage(self) -> tuple[int, list[Json]]:
        """LayersSize and the images of /system/df."""
        images = await asyncio.to_thread(self.images.list, None, True, True)
        users = Counter(container.record.image_id for container in self.containers.by_id.values())
        images = [{**image, "Containers": users[image["Id"]]} for image in images]
        return self.images.layers_size(), images
