"""Processors that come and go while a machine runs."""

from __future__ import annotations

from corten.errors import Conflict
from corten.tasks.machine_tasks import MachineTask

_OURS = "/machine/peripheral/cpu"  # as QEMU calls those that were plugged in


async def plug_cpus(task: MachineTask, begun: int, count: int) -> None:
    """The machine, which began with `begun` of them, is to have `count`. Conflict while the guest keeps one that it was
    to give up."""
    slots = await task.ask("query-hotpluggable-cpus")
    paths = [str(slot.get("qom-path", "")) for slot in slots]
    ours = sorted(int(path.removeprefix(_OURS)) for path in paths if path.startswith(_OURS))
    free = [slot for slot in slots if "qom-path" not in slot][::-1]  # the last one is the first processor
    for number in range(begun + len(ours), count):
        if not free:
            raise Conflict("no processor can be added until the guest has given up one")
        slot = free.pop(0)
        await task.ask_json("device_add", {"driver": slot["type"], "id": f"cpu{number}", **slot["props"]})
    for number in reversed(ours[max(count - begun, 0) :]):
        await task.ask_json("device_del", {"id": f"cpu{number}"})
