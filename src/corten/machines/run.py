"""A machine's run, from its start to its end: what it acquires is on one stack, which the end releases."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from corten.aio.threads import alone
from corten.errors import Conflict, CortenError, NotModified, Unavailable
from corten.kernel.sync import sync_directory
from corten.machines import cloud, limits, names, passthrough, plan, state
from corten.machines.create import check_free
from corten.machines.machine import Machine
from corten.machines.machines import Machines
from corten.machines.processors import plug_cpus
from corten.machines.records import Begun, Limits, State
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.guest import GuestNamespace
from corten.spec.dhcp import Lease
from corten.spec.docker import times
from corten.supervisor.machine_requests import Begin
from corten.tasks.contract import Exit
from corten.tasks.machine_tasks import MachineTask
from corten.units.durations import SECOND
from corten.vm import board

log = logging.getLogger(__name__)

_LOG = (16 << 20, 3)  # bytes of a console's log, and how many files
_REACH = 5.0  # seconds for a supervisor to kill it
_GOING = 30.0  # seconds for QEMU to go once it was killed
_NO_GATEWAY = "169.254.1.1"  # what DHCP comes from in a network without one
_LASTED = 10.0  # seconds of a run that was no failure by itself
_AGAIN = (1.0, 60.0)  # seconds before a restart by the policy: the first, and the longest


Prepare = Callable[[MachineTask], Awaitable[None]]


async def start(machines: Machines, machine: Machine) -> None:
    """NotModified when it runs. Nothing is left when it raises; a saved machine is still saved then."""
    async with machine.lock:
        if machine.record.saved:
            await start_locked(machines, machine, state.restoring(machine), machine.record.begun, incoming=True)
        else:
            await start_locked(machines, machine)


async def start_locked(
    machines: Machines,
    machine: Machine,
    prepare: Prepare | None = None,
    begun: Begun | None = None,
    incoming: bool = False,
) -> None:
    """With `prepare` the machine stands still until that is done. `begun`: it goes on from a state that `prepare`
    brings, by way of QEMU's migration when it is `incoming`."""
    record = machine.record
    if machine.gone or record.state.status == "removing":
        raise Conflict(f"machine {machine.name} is being removed")
    if record.state.running:
        raise NotModified(f"machine {machine.name} runs already")
    if begun is not None:
        passthrough.refuse(machine, "go on from a state")
    for disk in record.disks:
        if disk.volume and not disk.read_only:
            check_free(machines, disk.volume, machine.id)
    async with AsyncExitStack() as stack:
        taps = await _connect(machines, machine, stack)
        if begun is not None:
            _check_addresses(machine)
        try:
            await _begin(machines, machine, taps, begun, paused=prepare is not None, incoming=incoming)
        finally:
            taps.close_taps()  # the devices are kept by the machine, or go
        stack.push_async_callback(ended, machine)
        if prepare is not None:
            assert machine.task is not None
            await _prepared(machines, machine, machine.task, prepare)
        await _recorded(machines, machine)
        machine.release = stack.pop_all()
    keep(machines, machine)
    machines.publish(machine, "start")
    await alone(partial(state.forget, machine))  # as much as a machine has memory


async def _recorded(machines: Machines, machine: Machine) -> None:
    """That it runs. One of which that cannot be recorded does not."""
    record, task = machine.record, machine.task
    assert task is not None
    before = record.state, record.saved
    record.state, record.saved = State("running", task.pid, started_at=times.now()), False
    record.endpoints = {name: endpoint.record for name, endpoint in machine.endpoints.items()}
    record.macs = {name: endpoint.mac for name, endpoint in machine.endpoints.items()}
    record.addresses = {name: addresses(endpoint) for name, endpoint in machine.endpoints.items()}
    try:
        machines.save(machine)
    except BaseException:
        record.state, record.saved = before
        record.endpoints = {}
        await finish(machines, machine, task)
        raise


def leases(machines: Machines, machine: Machine, asks: bool) -> dict[str, Lease | None]:
    """What DHCP gives the interface in each network: its address, and the first one that has a gateway the default
    route. `asks`: the machine has a name server."""
    made: dict[str, Lease | None] = {}
    routed, servers = False, machines.settings.name_servers()
    for network, endpoint in machine.endpoints.items():
        if not endpoint.address:
            made[network] = None
            continue
        gateway = "" if routed else endpoint.gateway
        routed = routed or bool(gateway)
        own = endpoint.gateway or _NO_GATEWAY
        asked = [endpoint.names_at] if asks and endpoint.names_at else servers
        name = machine.name
        made[network] = Lease(endpoint.mac, endpoint.address, endpoint.prefix, gateway, asked, name, 0, own)
    return made


def addresses(endpoint: Endpoint) -> list[str]:
    return [address for address in (endpoint.address, endpoint.address6) if address]


def _check_addresses(machine: Machine) -> None:
    """A guest that goes on has the addresses that it had, whatever it is given. Conflict when others have them now."""
    for network, endpoint in machine.endpoints.items():
        before = machine.record.addresses.get(network, [])
        if before and addresses(endpoint) != before:
            text = f"address {', '.join(before)} of machine {machine.name} in network {network} has another owner now"
            raise Conflict(f"{text}: it cannot go on until that is free")


async def _prepared(machines: Machines, machine: Machine, task: MachineTask, prepare: Prepare) -> None:
    """What begun and could not go on is ended."""
    try:
        await prepare(task)
        await task.ask("cont")
    except BaseException:
        await finish(machines, machine, task)
        raise


async def finish(machines: Machines, machine: Machine, task: MachineTask) -> None:
    """A run without a keeper comes to its end, also when its supervisor does not answer."""
    try:
        await task.kill(_REACH)
    except Conflict:
        pass
    except Unavailable:
        await machines.supervisors.kill(machine.id, machines.cgroup(machine.id))
    with suppress(TimeoutError):
        async with asyncio.timeout(_GOING):
            await task.wait()
    await swept(machines, machine)


async def swept(machines: Machines, machine: Machine) -> None:
    """What a supervisor that was killed has left: with its socket there, none of a next run could listen."""
    sweep, cgroup = machines.supervisors.sweep, machines.cgroup(machine.id)
    for what in await alone(lambda: sweep(machine.id, machine.directory, cgroup)):
        log.warning("machine %s: %s was left", machine.name, what)


@asynccontextmanager
async def standing(machines: Machines, machine: Machine) -> AsyncIterator[MachineTask]:
    """A run of a machine that is off, for work that only QEMU does: no instruction of the guest is carried out, and it
    is off again behind it. It has none of this host's devices. The caller holds the lock."""
    async with AsyncExitStack() as stack:
        taps = await _connect(machines, machine, stack)
        try:
            await _begin(machines, machine, taps, None, paused=True, devices="none")
        finally:
            taps.close_taps()
        task = machine.task
        assert task is not None
        stack.push_async_callback(ended, machine)
        stack.push_async_callback(finish, machines, machine, task)
        yield task


async def _begin(
    machines: Machines,
    machine: Machine,
    taps: GuestNamespace,
    begun: Begun | None,
    paused: bool = False,
    incoming: bool = False,
    devices: plan.Devices = "opened",
) -> None:
    record = machine.record
    found = begun or plan.begun(machine)
    with ExitStack() as held:
        if (asks := await names.client(machines, machine)) >= 0:
            held.callback(os.close, asks)
        if record.config.cloud_init is not None and begun is None:  # one that goes on has seen it
            endpoints = list(machine.endpoints.values())
            servers = machines.settings.name_servers()
            if asks >= 0:
                servers = [endpoint.names_at for endpoint in endpoints if endpoint.names_at]
            image = cloud.image(record.config.cloud_init, record.id, record.name, endpoints, servers)
            write(machine.directory / plan.CD, image)
        if record.config.firmware == "uefi":
            template = board.SECURE_VARIABLES if record.config.secure_boot else board.VARIABLES
            await machines.disks.copy(Path(template), machine.directory / plan.VARIABLES)
        made = await plan.planned(machines, machine, found, held, devices)
        made = made._replace(board=made.board._replace(paused=paused, incoming=incoming))
        request = Begin(
            record.id,
            str(machines.supervisors.run / record.id),
            str(machine.directory),
            machines.cgroup(record.id),
            {},
            (str(machine.log_path), *_LOG),
            made.board,
            tuple(leases(machines, machine, asks >= 0).values()),
            tuple(endpoint.names_at for endpoint in machine.endpoints.values()) if asks >= 0 else (),
        )
        given = [*made.fds, *(tap.fd for tap in taps.taps), *([asks] if asks >= 0 else [])]
        machine.task = await machines.supervisors.begin(request, given)
    record.begun = found
    if begun is not None and record.config.cpus > begun.cpus:
        await _completed_or_ended(machines, machine, plug_cpus(machine.task, begun.cpus, record.config.cpus))
    for disk in record.disks:
        if disk.limits != Limits() and not (devices == "none" and disk.device):
            await _completed_or_ended(machines, machine, limits.apply(machine, disk))


async def _completed_or_ended(machines: Machines, machine: Machine, work: Awaitable[None]) -> None:
    """What a run has to have; without it the run is ended."""
    try:
        await work
    except BaseException:
        assert machine.task is not None
        await finish(machines, machine, machine.task)
        await ended(machine)
        raise


async def ended(machine: Machine) -> None:
    machine.task = None
    if machine.outgoing is not None:
        machine.outgoing.close()


async def _connect(machines: Machines, machine: Machine, stack: AsyncExitStack) -> GuestNamespace:
    """Each network is an interface, a tap in its bridge. Ports are published on the first that can."""
    record, taps = machine.record, GuestNamespace(-1, -1)
    bindings = record.config.port_bindings or {}
    try:
        for index, (network, settings) in enumerate(record.networks.items()):
            if mac := record.macs.get(network, ""):
                settings = settings.replace(mac_address=mac)
            published = any(any(endpoint.ports.values()) for endpoint in machine.endpoints.values())
            request = EndpointRequest(
                network,
                record.id,
                taps,
                settings,
                names=list(dict.fromkeys([record.name, *(settings.aliases or ()), record.id[:12]])),
                port_bindings={} if published else bindings,
                exposed=[] if published else list(bindings),
                index=index,
                previous=record.addresses.get(network, ()),
                asks_bridge=True,
            )
            machine.endpoints[network] = await machines.networks.connect(request)
            stack.push_async_callback(leave, machines, machine, network)
        if record.config.net_rate:
            machines.networks.shape_taps(record.id, record.config.net_rate)
    except BaseException:
        taps.close_taps()
        raise
    return taps


async def leave(machines: Machines, machine: Machine, network: str) -> None:
    machine.cut.discard(network)
    if (endpoint := machine.endpoints.pop(network, None)) is not None:
        await machines.networks.disconnect(endpoint)


def write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags | os.O_CLOEXEC, 0o600)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_directory(path.parent)


def keep(machines: Machines, machine: Machine) -> None:
    """Follow the present run to its end; the caller holds the lock."""
    machines.watching.spawn(_keep(machines, machine), f"keeping machine {machine.name}")


async def _keep(machines: Machines, machine: Machine) -> None:
    """One keeper for each run; that of the next one begins with it."""
    task = machine.task
    assert task is not None
    exit = await task.wait()
    await asyncio.shield(machines.changing.spawn(end(machines, machine, exit), f"the end of machine {machine.name}"))
    if not restarts(machine):
        return
    last = machine.record.state
    lasted = (last.finished_at - last.started_at) / SECOND
    machine.delay = _AGAIN[0] if lasted > _LASTED else min(machine.delay * 2, _AGAIN[1])
    await asyncio.sleep(machine.delay)
    await asyncio.shield(machines.changing.spawn(_again(machines, machine), f"the restart of machine {machine.name}"))


async def _again(machines: Machines, machine: Machine) -> None:
    async with machine.lock:
        if machine.gone or machine.record.state.running or not restarts(machine):
            return
        machine.record.restart_count += 1
        try:
            await start_locked(machines, machine)
        except (CortenError, OSError) as error:
            log.error("machine %s could not be restarted: %s", machine.name, error)


def restarts(machine: Machine) -> bool:
    """By its policy, behind the end of a run."""
    config, last = machine.record.config, machine.record.state
    policy = config.restart_policy.name if config.restart_policy else ""
    if last.stopped or policy in ("", "no"):
        return False
    return policy != "on-failure" or last.exit_code != 0


async def end(machines: Machines, machine: Machine, exit: Exit) -> None:
    """Take down and record a run that has ended. Ports and addresses are free when a waiter hears of it."""
    async with machine.lock:
        record = machine.record
        release, machine.release = machine.release, None
        if release is not None:
            await release.aclose()
        await swept(machines, machine)
        stopped = record.state.stopped
        record.state = State(
            "exited",
            exit_code=exit.status,
            error=exit.error,
            started_at=record.state.started_at,
            finished_at=max(int(exit.at * SECOND), record.state.started_at) or times.now(),
            stopped=stopped,
        )
        record.endpoints = {}
        try:
            machines.save(machine)
        except CortenError as error:
            log.error("the end of machine %s could not be recorded: %s", machine.name, error)
        machines.publish(machine, "die", exitCode=str(exit.status))
        machine.wake(exit)
