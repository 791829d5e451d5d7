"""The noun "containers": all of them, by id and by name.

The verbs are functions in this package that take this object and a `Container`; `container.py` says what that holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from corten.aio.background import Background, Forever
from corten.engine.configuration import Configuration
from corten.engine.containers import records
from corten.engine.containers.container import Container
from corten.engine.containers.execs import Execs
from corten.engine.containers.groups import Groups
from corten.engine.containers.removed import Removed
from corten.engine.containers.stores import Stores
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.errors import Conflict, Invalid, NotFound
from corten.plan.namespaces import joins
from corten.sandbox.sandboxes import Sandboxes
from corten.spec.json import Json
from corten.store.table import Table
from corten.tasks.contract import Exit, NetworkNamespaces, Runtime

# (profile, capabilities, machine) -> OCI's linux.seccomp; a profile is "" for the daemon's own, "builtin", or text; a
# machine is in uname's words, "" for this one
Seccomp = Callable[[str, Sequence[str], str], Json | None]


class Containers:
    """All containers of the daemon, and their execs. Reading never waits for one that is busy.

    table      their records
    stores     what they are made from, and what of them lies on the disk
    groups     the machine's control groups, for those that users choose as parents
    changing   work whose end matters: it is awaited at shutdown
    watching   work that ends with what it watches: it is cancelled
    """

    def __init__(
        self,
        configuration: Configuration,
        table: Table,
        events: Events,
        stores: Stores,
        networks: Networks,
        runtime: Runtime,
        namespaces: NetworkNamespaces,
        sandboxes: Sandboxes,
        groups: Groups,
        seccomp: Seccomp,
    ) -> None:
        self.configuration = configuration
        self.table = table
        self.events = events
        self.stores = stores
        self.networks = networks
        self.runtime = runtime
        self.namespaces = namespaces
        self.sandboxes = sandboxes
        self.groups = groups
        self.seccomp = seccomp
        self.changing, self.watching = Background(), Forever()
        self.execs = Execs(configuration, events, self.watching)
        self.by_id: dict[str, Container] = {}
        self.by_name: dict[str, Container] = {}
        self.creating: dict[str, Container] = {}  # by name, which is theirs; no verb finds them yet
        self.with_links: dict[str, Container] = {}  # by id: those that were made with --link
        self.joining: dict[str, Container] = {}  # by id: those in the network of another one
        self.in_pods: dict[str, str] = {}  # of pods in guests: the container that runs, by the pod's id
        self.removed = Removed()
        self.emptying: asyncio.Task[None] | None = None  # what tries to remove control groups, see `parents`

    def add(self, container: Container) -> None:
        self.by_id[container.id] = container
        self.by_name[container.record.name] = container
        if container.record.links:
            self.with_links[container.id] = container
        if joins(container.record.host_config.network_mode):
            self.joining[container.id] = container

    def link(self, container: Container, links: dict[str, str]) -> None:
        """Give it other links, see `Record.links`."""
        container.record.links = links
        if links:
            self.with_links[container.id] = container
        else:
            self.with_links.pop(container.id, None)

    def link_of(self, reference: str) -> tuple[Container | None, str]:
        """The container that has the link "app/alias", and the alias; None for what names no link."""
        name, _, alias = reference.removeprefix("/").partition("/")
        parent = self.by_name.get(name)
        return (parent, alias) if parent is not None and alias in parent.record.links else (None, "")

    def drop(self, container: Container) -> None:
        self.by_id.pop(container.id, None)
        self.with_links.pop(container.id, None)
        self.joining.pop(container.id, None)
        if self.by_name.get(container.record.name) is container:
            del self.by_name[container.record.name]

    def save(self, container: Container) -> None:
        """Its record is on disk when this returns. Raises Unavailable, Exhausted."""
        records.save(self.table, container.record)

    def publish(self, container: Container, action: str, **more: str) -> None:
        """An event of it, with Docker's attributes and `more`."""
        self.events.publish("container", action, container.id, container.attributes(**more))
        if container.record.host_config.balanced_ports:
            self.networks.ready(container.id, container.ready)

    def get(self, reference: str) -> Container:
        """By id, name, link, or the start of an id. NotFound; Invalid when the start is that of several."""
        found = self.by_id.get(reference) or self.by_name.get(reference.removeprefix("/"))
        if found is not None:
            return found
        parent, alias = self.link_of(reference)
        if parent is not None and (linked := self.by_id.get(parent.record.links[alias])) is not None:
            return linked
        if not reference:
            raise Invalid("no container was named")
        matches = [container for id, container in self.by_id.items() if id.startswith(reference)]
        if len(matches) > 1:
            raise Invalid(f"multiple IDs found with provided prefix: {reference}")
        if not matches:
            raise NotFound(f"No such container: {reference}")
        return matches[0]

    def get_ended(self, reference: str) -> Container | Exit:
        """The same; or how it ended, when --rm has removed it a moment ago."""
        try:
            return self.get(reference)
        except NotFound:
            if (exit := self.removed.find(reference)) is None:
                raise
            return exit

    @contextmanager
    def reserved(self, container: Container) -> Iterator[None]:
        """While a container is made: nothing can be done with it, its name is taken, and its image in use."""
        name = container.record.name
        self.creating[name] = container
        try:
            yield
        finally:
            del self.creating[name]

    def every(self) -> Iterator[Container]:
        """All of them, and those that are being made."""
        yield from self.by_id.values()
        yield from self.creating.values()

    def has_name(self, name: str) -> bool:
        return name in self.by_name or name in self.creating

    def check_free(self, name: str) -> None:
        """Raises Conflict when a container has this name."""
        if (holder := self.by_name.get(name) or self.creating.get(name)) is not None:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder.id}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def owners(self, container: Container) -> list[Container]:
        """Those whose namespaces it shares. One that is gone is left out: the start says so."""
        host = container.record.host_config
        found = []
        for name in filter(None, map(joins, (host.network_mode, host.pid_mode, host.ipc_mode))):
            with suppress(NotFound, Invalid):
                found.append(self.get(name))
        return found

    def members(self, container: Container) -> list[Container]:
        """Other containers that run in this one's network."""
        return [c for c in self.joining.values() if c.record.sandbox == container.id and c.record.state.has_task]

    def joining_now(self, container: Container) -> list[Container]:
        """Those whose start in this one's network is under way; another verb may be, too."""
        others = [c for c in self.joining.values() if c.record.sandbox == container.id]
        return [c for c in others if c.lock.locked() and not c.record.state.has_task]

    def of_image(self, id: str) -> Sequence[Container]:
        """Those whose root it is, and those that mount it."""
        return [container for container in self.every() if id in container.record.images]
