"""A machine's name server: that of containers, which has its networks, in a namespace with nothing else in it."""

from __future__ import annotations

import logging
import os

from corten.errors import CortenError
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.network.resolver import Sockets
from corten.tasks.machine_tasks import MachineTask

log = logging.getLogger(__name__)


async def client(machines: Machines, machine: Machine) -> int:
    """A socket that asks it, for the machine's supervisor; the caller closes it. -1 for a machine in no user-defined
    network, for one that has a name server, and where the kernel cannot. Unavailable."""
    networks, namespaces = machines.networks, machines.namespaces
    if not any(endpoint.names_at for endpoint in machine.endpoints.values()) or not networks.needs_resolver(machine.id):
        return -1
    namespace = await namespaces.create()
    try:
        if not (made := await namespaces.name_sockets(namespace)):
            return -1
        await networks.start_resolver(machine.id, Sockets(*made))
        return await namespaces.name_client(namespace)
    finally:
        namespace.close()


def serves(machines: Machines, machine: Machine) -> bool:
    """Whether a machine that runs has one."""
    asks = any(endpoint.names_at for endpoint in machine.endpoints.values())
    return asks and not machines.networks.needs_resolver(machine.id)


async def again(machines: Machines, machine: Machine, task: MachineTask) -> None:
    """A machine that runs, and whose name server is gone, has another one. A failure is in the log."""
    try:
        if (asks := await client(machines, machine)) >= 0:
            try:
                await task.serve_names(asks)
            finally:
                os.close(asks)
    except (CortenError, OSError) as error:
        log.warning("machine %s has no name server until it starts again: %s", machine.name, error)


def lost(machines: Machines) -> None:
    """All name servers are gone at once."""
    for machine in machines.by_id.values():
        if machine.task is not None:
            machines.changing.spawn(again(machines, machine, machine.task), f"the names of machine {machine.name}")
