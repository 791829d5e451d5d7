"""A machine as clients see it: a row of the list, everything known of it, the command line."""

from __future__ import annotations

from contextlib import suppress

from corten.errors import CortenError, Invalid
from corten.machines import block_devices
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import Disk, Limits
from corten.runtime import cgroups
from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.units.durations import SECOND, human_duration

_LIMITS = {"ReadBps": "read_bps", "WriteBps": "write_bps", "ReadIOps": "read_iops", "WriteIOps": "write_iops"}
_KEYS = frozenset(("id", "label", "name", "network", "status", "volume"))
_STATUSES = frozenset(("created", "incoming", "running", "paused", "exited", "removing"))


def listed(machines: Machines, every: bool, filters: Filters) -> list[Json]:
    """Youngest first; running ones only unless `every`, or a filter on states says otherwise. Invalid."""
    filters.check(_KEYS)
    if unknown := filters.get("status", frozenset()) - _STATUSES:
        raise Invalid(f"invalid filter 'status={min(unknown)}'")
    named = filters.pattern("name")
    every = every or "status" in filters
    found = [
        machine
        for machine in machines.by_id.values()
        if (every or machine.record.state.running)
        and named(machine.name)
        and filters.allows("status", machine.record.state.status)
        and filters.match_labels("label", machine.record.labels)
        and ("id" not in filters or any(machine.id.startswith(value) for value in filters["id"]))
        and ("network" not in filters or filters["network"] & machine.record.networks.keys())
        and ("volume" not in filters or filters["volume"] & set(machine.record.volumes))
    ]
    found.sort(key=lambda machine: machine.record.created, reverse=True)
    return [_row(machine) for machine in found]


def _row(machine: Machine) -> Json:
    record = machine.record
    return {
        "Id": record.id,
        "Name": record.name,
        "Created": record.created // SECOND,
        "State": record.state.status,
        "Status": status(machine),
        "Memory": record.config.memory,
        "CPUs": record.config.cpus,
        "Disks": record.volumes,
        "Labels": record.labels,
        "Ports": ports(machine),
        "Networks": {name: _address(machine, name) for name in record.networks},
    }


def _address(machine: Machine, network: str) -> str:
    return machine.endpoints[network].address if network in machine.endpoints else ""


def status(machine: Machine) -> str:
    """In the words of the list of containers."""
    state = machine.record.state
    now = times.now()
    match state.status:
        case "running" | "paused":
            text = f"Up {human_duration(max(0, now - state.started_at) / SECOND)}"
            return text + (" (Paused)" if state.status == "paused" else "")
        case "exited":
            saved = " (Saved)" if machine.record.saved else ""
            return f"Exited ({state.exit_code}) {human_duration(max(0, now - state.finished_at) / SECOND)} ago{saved}"
        case "incoming":
            return "Arriving"
        case "removing":
            return "Removal In Progress"
        case _:
            return "Created"


def ports(machine: Machine) -> Json:
    """Docker's PortMap of a running machine."""
    found: Json = {}
    for endpoint in machine.endpoints.values():
        for port, bindings in endpoint.ports.items():
            found[port] = found.get(port) or bindings
    return found


async def inspected(machines: Machines, machine: Machine) -> Json:
    record, state = machine.record, machine.record.state
    accelerator = await machines.guests.accelerator()
    return {
        "Id": record.id,
        "Name": record.name,
        "Created": times.rfc3339(record.created),
        "UUID": record.uuid,
        "State": {
            "Status": state.status,
            "Running": state.running,
            "Paused": state.status == "paused",
            "Saved": record.saved,
            "Pid": state.pid if state.running else 0,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": times.rfc3339(state.started_at),
            "FinishedAt": times.rfc3339(state.finished_at),
            "Agent": bool(machine.task and machine.task.agent),
        },
        "Accelerator": accelerator.name,
        "AcceleratorHint": accelerator.hint,
        "RestartCount": record.restart_count,
        "LogPath": str(machine.log_path),
        "Config": record.config.to_json(),
        "Disks": [_disk(machines, disk) for disk in record.disks],
        "Devices": [{"Kind": device.kind, "Address": device.address} for device in record.devices],
        "Snapshots": snapshots(machine),
        "NetworkSettings": {
            "Ports": ports(machine),
            "Networks": {
                name: machine.endpoints[name].settings if name in machine.endpoints else wanted.to_json()
                for name, wanted in record.networks.items()
            },
        },
    }


def snapshots(machine: Machine) -> list[Json]:
    return [
        {"Name": one.name, "Created": times.rfc3339(one.created), "Memory": one.memory, "External": one.external}
        for one in machine.record.snapshots
    ]


async def stats(machines: Machines, machine: Machine) -> Json:
    """What it uses of this machine: its control group says that, and QEMU what its disks have done."""
    task = machine.task
    assert task is not None
    blocks = await task.ask("query-blockstats")
    disks = {}
    for one in blocks:
        device = str(one.get("qdev", "")).split("/")
        name = next((disk for disk, place in machine.record.begun.places.items() if f"disk{place}" in device), "")
        if name:
            counted = one["stats"]
            disks[name] = {
                "ReadBytes": counted["rd_bytes"],
                "WrittenBytes": counted["wr_bytes"],
                "Reads": counted["rd_operations"],
                "Writes": counted["wr_operations"],
            }
    balloon = await task.ask("query-balloon")
    return {
        "Id": machine.id,
        "Name": machine.name,
        "Read": times.rfc3339(times.now()),
        "GuestMemory": balloon["actual"],
        "Disks": disks,
        **group_counters(machines.cgroup(machine.id)),
    }


def group_counters(path: str) -> Json:
    """Processor time in nanoseconds, memory in bytes, of QEMU and all that belongs to it."""
    group = cgroups.open(cgroups.detect(), path)
    try:
        counters = group.stats()
    finally:
        group.close()
    usage = counters.get("cpu", {}).get("usage", {}).get("total", 0)
    return {"CPUNanoseconds": usage, "HostMemory": counters.get("memory", {}).get("usage", {}).get("usage", 0)}


def _disk(machines: Machines, disk: Disk) -> Json:
    shown: Json = {
        "Name": disk.serial,
        "Volume": disk.volume,
        "Bus": disk.bus,
        "ReadOnly": disk.read_only,
        "CDROM": disk.cdrom,
    }
    if disk.limits != Limits():
        shown["Limits"] = {key: getattr(disk.limits, name) for key, name in _LIMITS.items()}
    if disk.device:
        shown["Device"] = disk.device
        with suppress(OSError):  # it is gone
            shown["Size"] = block_devices.size(disk.device)
    if disk.volume:
        try:
            file = machines.disks.file(disk.volume)
            shown |= {"Size": machines.disks.size(disk.volume), "Format": file.format}
            shown["Allocated"] = file.path.stat().st_blocks * 512
            shown["Chain"] = machines.disks.names(disk.volume)
        except (CortenError, OSError) as error:  # one that is lost does not hide the rest
            shown["Error"] = str(error)
    return shown
