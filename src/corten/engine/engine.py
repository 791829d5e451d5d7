"""The engine: Docker's nouns as attributes, and its own beginning and end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from corten.engine.containers import network as container_network
from corten.engine.containers import pause, restore
from corten.engine.containers.containers import Containers
from corten.engine.containers.opened import opened
from corten.engine.containers.tree import ContainerTrees
from corten.engine.system import System
from corten.guests.guests import Guests
from corten.images.gc import Gc
from corten.network.endpoint import Endpoint
from corten.spec.json import Json
from corten.tasks.contract import Plugins, TreeWork

if TYPE_CHECKING:
    from corten.engine.pods.pods import Pods


class Engine:
    """One daemon's engine, without HTTP.

    engine = Engine(Containers(configuration, table, ...), tree_work, guests)
    await engine.open()          # takes up what an earlier daemon left
    container, warnings = await create(engine.containers, "web", config, host_config, networking)
    await start(engine.containers, container)
    await engine.close()         # containers go on running

    The rooms below give their events to the `on_` methods; those do nothing that waits. `tree_work` are processes that
    look into a container's tree for cp, diff, export and commit; `plugins` make pods' networks where that is asked for.
    """

    def __init__(
        self, containers: Containers, tree_work: TreeWork, guests: Guests, plugins: Plugins | None = None
    ) -> None:
        configuration, stores = containers.configuration, containers.stores
        self.configuration = configuration
        self.containers = containers
        self.execs = containers.execs
        self.events = containers.events
        self.networks = containers.networks
        self.images = stores.images
        self.volumes = stores.volumes
        self.secrets = stores.secrets
        self.trees = ContainerTrees(
            stores, tree_work, configuration, containers.events, containers.publish, partial(opened, containers)
        )
        self.guests = guests
        self.system = System(configuration, containers, self.images, self.volumes, self.networks, self.events, guests)
        self._pods: Pods | None = None
        self._plugins = plugins
        self.image_gc = Gc(
            self.images, self._users, lambda: configuration.settings.image_gc, configuration.settings.data_root
        )

    @property
    def pods(self) -> Pods:
        """Loaded with the first use: most daemons have none."""
        if self._pods is None:
            from corten.engine.pods.pods import Pods

            self._pods = Pods(self.containers, self._plugins)
        return self._pods

    async def open(self) -> None:
        table = self.containers.table
        if table.list("pod") or table.list("pod-network") or self.containers.sandboxes.held():
            await self.pods.restore()
        await restore.restore(self.containers)
        self.containers.watching.spawn(self.image_gc.run_periodically(), "image gc")

    async def settle(self) -> None:
        """Wait for everything that goes on behind the answers given so far."""
        await self.containers.changing.settle()
        await self.networks.settle()

    async def close(self, seconds: float | None = None) -> None:
        """Complete what is under way, as far as that takes no more than `seconds`. Containers go on running."""
        await self.containers.watching.cancel(seconds)
        await self.containers.changing.settle(seconds)
        await self.networks.settle()
        for container in self.containers.by_id.values():
            container.close_early()

    def _users(self, image: str) -> list[str]:
        return [container.record.name for container in self.containers.of_image(image)]

    # ------------------------------------------------------------------------------------- events of the rooms below

    def on_task_event(self, id: str, kind: str, attributes: Json) -> None:
        """A supervisor's event: "oom", "detach" or "reached". The end of an exec has a waiter already."""
        container = self.containers.by_id.get(id)
        if container is None or kind == "exec_exit":
            return
        if kind == "reached":
            self.containers.execs.adopt(container)
            self.containers.changing.spawn(pause.thaw_when_reached(container), f"thawing container {id}")
            return
        if kind == "oom":
            container.record.state.oom_killed = True
        more = {key: str(value) for key, value in attributes.items()}
        self.events.publish("container", kind, id, container.attributes(**more))

    def on_pull(self) -> None:
        """An image was pulled: there may be less space than is wanted."""
        self.containers.changing.spawn(self.image_gc.after_pull(), "image gc after a pull")

    def on_link_lost(self, endpoint: Endpoint) -> None:
        """A container's network device was deleted from outside."""
        container = self.containers.by_id.get(endpoint.container_id)
        if container is not None:
            work = container_network.reconnect(self.containers, container)
            self.containers.changing.spawn(work, f"connecting container {container.id} again")

    def on_resolver_lost(self) -> None:
        """The name server ended: another is started, with new sockets in every running container."""
        for container in self.containers.by_id.values():
            if container.record.state.has_task:
                work = container_network.reconnect(self.containers, container)
                self.containers.changing.spawn(work, f"a name server for container {container.id}")
