"""The noun "containers": finding them, and everything that can be asked of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from corten.engine.containers import exit as container_exit
from corten.engine.containers import network as container_network
from corten.engine.containers import parents, records
from corten.engine.containers import remove as container_remove
from corten.engine.containers import start as container_start
from corten.engine.containers import stop as container_stop
from corten.engine.containers.container import Container
from corten.engine.containers.create import check_free, check_name, create
from corten.engine.containers.list import ImageNames, select, summary
from corten.engine.parts import Parts
from corten.errors import CortenError, Invalid, NotFound
from corten.spec.docker.config import Config
from corten.spec.docker.filters import Filters
from corten.spec.docker.host_config import HostConfig
from corten.spec.docker.networking import NetworkingConfig
from corten.spec.json import Json

if TYPE_CHECKING:
    from corten.engine.containers.health import Run

log = logging.getLogger(__name__)


class Containers:
    """All containers of the daemon. Reading never waits for one that is busy.

    The verbs are functions in engine/containers/*.py that take this object and a `Container`.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.by_id: dict[str, Container] = {}
        self.by_name: dict[str, Container] = {}
        self.with_links: dict[str, Container] = {}  # by id: those that were made with --link
        self.probe: Run | None = None  # runs health checks; set by the engine
        parts.runtime.on_event = self._on_event

    def add(self, container: Container) -> None:
        self.by_id[container.id] = container
        self.by_name[container.record.name] = container
        if container.record.host_config.links:
            self.with_links[container.id] = container

    def drop(self, container: Container) -> None:
        self.parts.images.used(container.record.image_id)
        self.by_id.pop(container.id, None)
        self.with_links.pop(container.id, None)
        if self.by_name.get(container.record.name) is container:
            del self.by_name[container.record.name]

    def get(self, reference: str) -> Container:
        """By id, name, or the start of an id. NotFound; Invalid when several begin so."""
        found = self.by_id.get(reference) or self.by_name.get(reference.removeprefix("/"))
        if found is not None:
            return found
        if not reference:
            raise Invalid("no container was named")
        matches = [container for id, container in self.by_id.items() if id.startswith(reference)]
        if len(matches) > 1:
            raise Invalid(f"multiple IDs found with provided prefix: {reference}")
        if not matches:
            raise NotFound(f"No such container: {reference}")
        return matches[0]

    async def create(
        self,
        name: str,
        config: Config,
        host_config: HostConfig,
        networking: NetworkingConfig,
        platform: str = "",
    ) -> tuple[Container, list[str]]:
        return await create(self, name, config, host_config, networking, platform)

    def list(self, every: bool = False, limit: int = 0, filters: Filters | None = None) -> list[Json]:
        """Docker's list, youngest first; see `container_list.select`."""
        chosen = select(self, every, limit, filters or Filters())
        names = ImageNames(self.parts.images)
        return [summary(names, container) for container in chosen]

    def users_of_image(self, id: str) -> Sequence[tuple[str, bool]]:
        """(container, does it run) for each container of the image."""
        return [(c.id, c.record.state.running) for c in self.by_id.values() if c.record.image_id == id]

    async def rename(self, container: Container, name: str) -> None:
        """Invalid, Conflict."""
        if not name:
            raise Invalid("Neither old nor new names may be empty")
        new = check_name(name)
        async with container.lock:
            record = container.record
            old = record.name
            if new == old:
                raise Invalid("Renaming a container with the same name as its current name")
            check_free(self, new)
            del self.by_name[old]
            record.name = new
            self.by_name[new] = container
            container_network.renamed(self, container)
            records.save(self.parts.table, record)
            self.parts.events.publish("container", "rename", record.id, container.attributes(oldName="/" + old))

    def _on_event(self, id: str, kind: str, attributes: Json) -> None:
        """What a supervisor tells of its own accord: "oom", "detach"; the end of an exec has a waiter already."""
        container = self.by_id.get(id)
        if container is None or kind == "exec_exit":
            return
        if kind == "oom":
            container.record.state.oom_killed = True
        more = {key: str(value) for key, value in attributes.items()}
        self.parts.events.publish("container", kind, id, container.attributes(**more))

    # ---------------------------------------------------------------------------------------- the daemon's own life

    async def restore(self) -> None:
        """Take up what an earlier daemon left: adopt tasks, note ends, finish removals, start what policies ask for."""
        found, broken = records.load(self.parts.table)
        for error in broken:
            log.error("%s", error)
        for record in found:
            container = Container(record, self.parts.containers_root / record.id)
            self.add(container)
            for point in record.mounts:
                if point.type == "volume":
                    self.parts.volumes.hold(point.name, record.id)
        await asyncio.gather(*(self._restore_one(container) for container in list(self.by_id.values())))
        parents.let_go(self)

    async def _restore_one(self, container: Container) -> None:
        status = container.record.state.status
        try:
            async with container.lock:
                if status == "removing":
                    await container_remove.remove_locked(self, container, volumes=False)
                elif status in ("running", "paused"):
                    await self._adopt(container)
                elif status == "restarting" or self._starts_with_daemon(container):
                    self._start_again(container)
        except (CortenError, OSError) as error:
            log.error("container %s could not be restored: %s", container.id, error)
        except Exception:  # a bug that one container's state brings out must not keep all others from their daemon
            log.exception("container %s could not be restored", container.id)

    async def _adopt(self, container: Container) -> None:
        """A running task goes on; one that ended meanwhile is ended here, with what its supervisor wrote down."""
        if await container_start.adopt(self, container):
            await container_stop.settle_frozen(container)
        else:
            await container_exit.ended(self, container, container_exit.lost(container))

    def _starts_with_daemon(self, container: Container) -> bool:
        """Policy "always" starts even what a client had stopped; "created" is never started by itself."""
        record = container.record
        policy = record.host_config.restart_policy.name
        if record.state.status != "exited":
            return False
        return policy == "always" or (policy == "unless-stopped" and not record.stopped)

    def _start_again(self, container: Container) -> None:
        work = container_exit.restart_after(self, container, 0.0)
        container.restarter = self.parts.watching.spawn(work, f"the restart of container {container.id}")

    async def stop_all(self, seconds: float) -> None:
        """For a daemon that must not leave containers behind: stop all that run, waiting `seconds` in all."""
        running = [c for c in self.by_id.values() if c.record.state.running]
        deadline = time.monotonic() + seconds
        stopping = [asyncio.ensure_future(container_stop.stop(self, c)) for c in running]
        if stopping:
            await asyncio.wait(stopping, timeout=max(0.0, deadline - time.monotonic()))
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, return_exceptions=True)
