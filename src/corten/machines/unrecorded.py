"""At a daemon's start: what an earlier one had given to a machine that runs, and was killed before it was recorded.

It is no part of the machine: devices are taken out, and files that QEMU has open for nothing are closed. The next run
would be without all of it.
"""

from __future__ import annotations

import logging
import re

from corten.errors import CortenError
from corten.machines import blocks, change, interfaces, snapshots
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.tasks.machine_tasks import MachineTask

log = logging.getLogger(__name__)
_DEVICE = re.compile(r"(disk|interface)([0-9]+)\Z")


async def settle(machines: Machines, machine: Machine) -> None:
    """A failure is in the log. It takes as long as the guest needs to give a device up: no start waits for it, and
    other changes of the machine come behind it."""
    async with machine.lock:
        task = machine.task
        if task is None or machine.record.state.status != "running":
            return
        try:
            await snapshots.forget_taken(machines, machine, task)
            await _take_out(machine, task)
        except (CortenError, KeyError, TypeError, ValueError) as error:  # of a QEMU that says what is none of its words
            if not task.ended:
                log.warning("machine %s has what is in no record, until it starts again: %s", machine.name, error)


async def _take_out(machine: Machine, task: MachineTask) -> None:
    begun = machine.record.begun
    known = set(begun.places.values())
    for one in await task.ask("qom-list", (), path="/machine/peripheral"):
        device = _DEVICE.match(str(one["name"]))
        if device is None or int(device[2]) in known:
            continue
        log.warning("machine %s: its device %s is in no record, and is taken out", machine.name, device[0])
        await change.unplug(machine, device[0])
    for place in await blocks.places(task) - known:
        await change.close_files(task, place)
    for place in set(range(begun.ports)) - known:
        await interfaces.close_tap(task, place)
