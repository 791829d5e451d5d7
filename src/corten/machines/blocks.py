"""QEMU's block nodes of a machine that runs: which one a disk writes to, and which ones it is made of.

A disk's nodes are called diskP-0, diskP-1... (`vm.board.node`), each based on the one before; levels that were merged
are missing. QEMU itself says which one the guest's device has: records may be older than what it has done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from corten.errors import Conflict, CortenError, Failed
from corten.machines.machine import Machine
from corten.machines.records import Disk
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board

_NODE = re.compile(r"disk([0-9]+)-([0-9]+)\Z")
_SET = re.compile(r"/dev/fdset/([0-9]+)\Z")
BITMAP = "corten-backup"  # in a disk's file: what was written since its last backup


async def written(task: MachineTask, machine: Machine, disk: Disk) -> str:
    """The node that the guest writes to. Failed for a disk that QEMU does not have."""
    device = f"disk{machine.record.begun.places[disk.serial]}"
    for one in await task.ask("query-block"):
        if device in str(one.get("qdev", "")).split("/") and "inserted" in one:
            return str(one["inserted"]["node-name"])
    raise Failed(f"machine {machine.name} does not run with disk {disk.serial}")


async def of(task: MachineTask, place: int) -> list[str]:
    """All of a disk that there are, each based on the one before."""
    found = await task.ask("query-named-block-nodes", (), flat=True)
    levels = [int(m[2]) for one in found if (m := _NODE.match(str(one["node-name"]))) and int(m[1]) == place]
    return [board.node(place, level) for level in sorted(levels)]


async def places(task: MachineTask) -> set[int]:
    """Of all disks of which QEMU has a file."""
    found = await task.ask("query-named-block-nodes", (), flat=True)
    return {int(matched[1]) for one in found if (matched := _NODE.match(str(one["node-name"])))}


async def fd_set(task: MachineTask, node: str) -> int:
    """The number of the set of descriptors that a node's file is opened by; -1 without one."""
    found = await task.ask("query-named-block-nodes", (), flat=True)
    name = next((str(one["file"]) for one in found if one["node-name"] == f"{node}-file"), "")
    return int(matched[1]) if (matched := _SET.match(name)) else -1


async def knows_written(task: MachineTask, node: str) -> bool:
    """Whether a disk's file says what was written since its last backup. QEMU writes that down when it ends; what one
    that was killed has left is inconsistent."""
    found = await task.ask("query-named-block-nodes", (), flat=True)
    bitmaps = [bitmap for one in found if one["node-name"] == node for bitmap in one.get("dirty-bitmaps") or ()]
    return any(bitmap.get("name") == BITMAP and not bitmap.get("inconsistent") for bitmap in bitmaps)


async def forget_written(task: MachineTask, node: str) -> None:
    """The next backup has to be a full one."""
    await quietly(task, "block-dirty-bitmap-remove", {"node": node, "name": BITMAP})


def check(machine: Machine, disk: Disk, nodes: Sequence[str], chain: Sequence[str]) -> None:
    """Conflict where QEMU has other files than the records: an earlier daemon was killed in the middle of a change."""
    if len(nodes) != len(chain):
        raise Conflict(f"machine {machine.name} runs with other files of disk {disk.serial} than it will: restart it")


def level(node: str) -> int:
    matched = _NODE.match(node)
    assert matched is not None
    return int(matched[2])


async def delete(task: MachineTask, node: str) -> None:
    """With the descriptors of its file. One that is in use, or gone, is left."""
    number = await fd_set(task, node)
    await quietly(task, "blockdev-del", {"node-name": node})
    if number >= 0:
        await quietly(task, "remove-fd", {"fdset-id": number})


async def quietly(task: MachineTask, command: str, arguments: Json) -> None:
    with suppress(CortenError):
        await task.ask_json(command, arguments)
