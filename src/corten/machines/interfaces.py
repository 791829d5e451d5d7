"""Interfaces of machines that come, go, and come back while a machine runs: taps in the bridges of its networks."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound
from corten.machines import change, create, names, passthrough, run
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.records import of_network
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.guest import GuestNamespace
from corten.plan.validate.network import check_endpoint
from corten.spec.docker.networking import EndpointSettings
from corten.tasks.machine_tasks import MachineTask
from corten.vm import board
from corten.vm.board import BoardInterface

log = logging.getLogger(__name__)
_END = 5.0  # seconds from the end of a tap to that of its QEMU


async def connect(machines: Machines, machine: Machine, reference: str, settings: EndpointSettings) -> None:
    """One more interface, in this network."""
    check_endpoint(settings)
    network = machines.networks.find(reference).definition.name
    async with machine.changing():
        record = machine.record
        if network in record.networks:
            raise Conflict(f"machine {machine.name} is in network {network} already")
        change.check_not_saved(machine)
        if network in ("none", "host"):
            raise Invalid(f"a machine has interfaces in networks with bridges, not in {network}")
        create.check_number(record.disks, [*record.networks, network], passthrough.places(record.devices))
        if record.state.running:
            await _connect(machines, machine, network, settings)
        record.networks[network] = settings
        machines.save(machine)
    machines.publish(machine, "connect", network=network)


async def _connect(machines: Machines, machine: Machine, network: str, settings: EndpointSettings) -> None:
    record, task, slot, taps = machine.record, machine.task, change.free_slot(machine), GuestNamespace(-1, -1)
    assert task is not None and machine.release is not None
    known_as = list(dict.fromkeys([record.name, *(settings.aliases or ()), record.id[:12]]))
    request = EndpointRequest(network, record.id, taps, settings, names=known_as, index=slot,
                              previous=record.addresses.get(network, ()), asks_bridge=True)  # fmt: skip
    machine.endpoints[network] = await machines.networks.connect(request)
    try:
        await names.again(machines, machine, task)
        await _plug(machines, machine, task, network, slot, taps)
    except BaseException:
        await run.leave(machines, machine, network)
        raise
    finally:
        taps.close_taps()
    machine.release.push_async_callback(run.leave, machines, machine, network)
    record.begun.places[of_network(network)] = slot
    _record(machine, network, machine.endpoints[network])


async def _plug(
    machines: Machines, machine: Machine, task: MachineTask, network: str, slot: int, taps: GuestNamespace
) -> None:
    """The one tap of `taps` becomes an interface of the machine, with its address by DHCP."""
    if not taps.taps:
        raise Failed(f"network {network} has given no device")
    endpoint, device, config = machine.endpoints[network], taps.taps[0].fd, machine.record.config
    serves = names.serves(machines, machine)
    await task.serve_interface(
        device, run.leases(machines, machine, serves)[network], endpoint.names_at if serves else ""
    )
    await task.ask("getfd", [device], fdname=board.network(slot))
    made = {"type": "tap", "id": board.network(slot), "fd": board.network(slot), "vhost": False}
    await task.ask_json("netdev_add", made)
    try:
        if config.net_rate:
            machines.networks.shape_taps(machine.id, config.net_rate)
        model = create.MODELS[config.network_model]
        await task.ask_json("device_add", board.interface_device(BoardInterface(endpoint.mac, slot, model)))
    except BaseException:
        with suppress(CortenError):
            await task.ask("netdev_del", id=board.network(slot))
        raise


def _record(machine: Machine, network: str, endpoint: Endpoint) -> None:
    record = machine.record
    record.endpoints[network] = endpoint.record
    record.macs[network] = endpoint.mac
    record.addresses[network] = run.addresses(endpoint)


async def disconnect(machines: Machines, machine: Machine, reference: str) -> None:
    async with machine.changing():
        record = machine.record
        try:
            network = machines.networks.find(reference).definition.name
        except NotFound:
            network = reference
        if network not in record.networks:
            raise NotFound(f"machine {machine.name} is not in network {reference}")
        change.check_not_saved(machine)
        if record.state.running and (place := of_network(network)) in record.begun.places:
            assert machine.task is not None
            await _unplug(machine, machine.task, record.begun.places[place])
            await run.leave(machines, machine, network)
            del record.begun.places[place]
        record.endpoints.pop(network, None)
        record.macs.pop(network, None)
        record.addresses.pop(network, None)
        del record.networks[network]
        machines.save(machine)
    machines.publish(machine, "disconnect", network=network)


async def _unplug(machine: Machine, task: MachineTask, slot: int) -> None:
    await change.unplug(machine, f"interface{slot}")
    await close_tap(task, slot)


async def close_tap(task: MachineTask, slot: int) -> None:
    """That of an interface that is unplugged; it may be closed already."""
    with suppress(Failed):
        await task.ask("netdev_del", id=board.network(slot))


def lost(machines: Machines, machine: Machine) -> None:
    """A tap of its may be gone, which another program has deleted: the machine gets another one."""
    machines.changing.spawn(_reconnect(machines, machine), f"connecting machine {machine.name} again")


async def _reconnect(machines: Machines, machine: Machine) -> None:
    """QEMU cannot give a device another tap: its guest sees an interface go and come, with the same addresses. Where
    the guest does not give it up, or QEMU does not take the new one, it goes on without that network until it starts
    again. One that is paused, or on its way to another daemon, has it when it goes on."""
    async with machine.lock:
        task, networks = machine.task, machines.networks
        if task is None or machine.record.state.status != "running" or _leaves(machine):
            return
        for network, endpoint in list(machine.endpoints.items()):
            if network in machine.cut or not networks.lacks_device(endpoint):
                continue
            taps, slot = GuestNamespace(-1, -1), machine.record.begun.places[of_network(network)]
            try:
                await _unplug(machine, task, slot)
                machine.endpoints[network] = networks.reconnect(endpoint, taps)
                await _plug(machines, machine, task, network, slot, taps)
                _record(machine, network, machine.endpoints[network])
                machines.save(machine)
            except (CortenError, OSError) as error:
                if await _ends(task) or _leaves(machine):  # which is why its taps are gone, or why QEMU refuses
                    return
                if taps.taps and not networks.lacks_device(machine.endpoints[network]):
                    machine.cut.add(network)  # or the end of this tap would be one more try
                log.error("machine %s has lost its network %s: %s", machine.name, network, error)
                machines.publish(machine, "network-lost", network=network, error=str(error))
                continue
            finally:
                taps.close_taps()
            text = "machine %s: its interface in network %s was taken away and is back"
            log.warning(text, machine.name, network)


def _leaves(machine: Machine) -> bool:
    """For another daemon: QEMU changes no device meanwhile."""
    return machine.outgoing is not None and machine.outgoing.sends


async def _ends(task: MachineTask) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(_END):
            await task.wait()
    return task.ended
