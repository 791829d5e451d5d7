"""All machines, and what their verbs have in common: stores, names, events, records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corten.aio.background import Background, Forever
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.engine.volumes import Volumes
from corten.errors import Conflict, Invalid, NotFound, Unavailable
from corten.guests.guests import Guests
from corten.machines import records
from corten.machines.disks import Disks
from corten.machines.images import MachineImages
from corten.machines.machine import Machine
from corten.spec.json import Json
from corten.store.table import Table
from corten.tasks.contract import NetworkNamespaces
from corten.tasks.machine_tasks import MachineSupervisors, MachineTask

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """`directory`: <data-root>/machines, with a directory for each. `name_servers` of this machine, for guests. `host`
    has its /sys and /dev."""

    directory: Path
    cgroup_parent: str
    name_servers: Callable[[], list[str]]
    host: Path = Path("/")


class Machines:
    """`by_id` and `by_name` have them all; the verbs are functions in files of their own (`create`, `start` ...)."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        events: Events,
        volumes: Volumes,
        disks: Disks,
        images: MachineImages,
        networks: Networks,
        namespaces: NetworkNamespaces,
        guests: Guests,
        supervisors: Callable[[Callable[[str, str, Json], None]], MachineSupervisors],
    ) -> None:
        self.settings, self.table, self.events = settings, table, events
        self.volumes, self.disks, self.images = volumes, disks, images
        self.networks, self.guests = networks, guests
        self.namespaces = namespaces
        self.supervisors = supervisors(self._on_event)
        self.changing, self.watching = Background(), Forever()
        self.by_id: dict[str, Machine] = {}
        self.by_name: dict[str, Machine] = {}
        self.creating: set[str] = set()

    def get(self, reference: str) -> Machine:
        """By id, name, or the start of an id. NotFound; Invalid when the start is that of several."""
        found = self.by_id.get(reference) or self.by_name.get(reference)
        if found is not None:
            return found
        matches = [machine for id, machine in self.by_id.items() if reference and id.startswith(reference)]
        if len(matches) > 1:
            raise Invalid(f"multiple IDs found with provided prefix: {reference}")
        if not matches:
            raise NotFound(f"No such machine: {reference}")
        return matches[0]

    def running(self, reference: str) -> Machine:
        """The same; Conflict when it does not run, Unavailable when its supervisor does not answer."""
        machine = self.get(reference)
        if self.task(machine).ended:
            raise Conflict(f"machine {machine.name} is not running")
        return machine

    def task(self, machine: Machine) -> MachineTask:
        """Its run. Errors as of `running`."""
        if machine.task is not None:
            return machine.task
        if machine.record.state.running:
            raise Unavailable(f"cannot reach the supervisor of machine {machine.name}: it does not answer")
        raise Conflict(f"machine {machine.name} is not running")

    def add(self, machine: Machine) -> None:
        self.by_id[machine.id] = self.by_name[machine.name] = machine
        self.hold(machine)

    def drop(self, machine: Machine) -> None:
        del self.by_id[machine.id], self.by_name[machine.name]
        self.release(machine)

    @contextmanager
    def taking(self, machine: Machine, volume: str) -> Iterator[None]:
        """While a volume ("": none) becomes the machine's: nothing removes it meanwhile, and no other machine takes it.
        It is the machine's no more when that raises."""
        if not volume:
            yield
            return
        self.volumes.hold(volume, machine.id)
        try:
            yield
        except BaseException:
            if volume not in machine.record.volumes:
                self.volumes.release(volume, machine.id)
            raise

    def hold(self, machine: Machine) -> None:
        """What it refers to. Repeating it does nothing."""
        for volume in machine.record.volumes:
            self.volumes.hold(volume, machine.id)

    def release(self, machine: Machine) -> None:
        for volume in machine.record.volumes:
            self.volumes.release(volume, machine.id)

    def changed(self, machine: Machine, before: Collection[str]) -> None:
        """Its record refers to other volumes than `before`."""
        self.hold(machine)
        for volume in set(before) - set(machine.record.volumes):
            self.volumes.release(volume, machine.id)

    def save(self, machine: Machine) -> None:
        records.save(self.table, machine.record)

    def publish(self, machine: Machine, action: str, **more: str) -> None:
        self.events.publish("vm", action, machine.id, machine.attributes(**more))

    def cgroup(self, id: str) -> str:
        parent = self.settings.cgroup_parent
        return f"{parent if parent.startswith('/') else '/' + parent}/{id}"

    async def close(self, seconds: float | None = None) -> None:
        """Complete what is under way; machines go on running."""
        await self.watching.cancel(seconds)
        await self.changing.settle(seconds)
        for machine in self.by_id.values():
            if machine.task is not None:
                machine.task.leave()

    def _on_event(self, id: str, name: str, data: Json) -> None:
        """Of QEMU, or "detach" of a console's client."""
        machine = self.by_id.get(id)
        if machine is None:
            return
        if action := _PUBLISHED.get(name):
            self.publish(machine, action)


def servers_of(resolv_conf: Path) -> list[str]:
    """Name servers of this machine that another one can ask as well."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    found = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return [server for server in found if not server.startswith("127.") and server != "::1"]


_PUBLISHED = {"detach": "detach", "RESET": "reset", "GUEST_PANICKED": "panic", "POWERDOWN": "powerdown"}
