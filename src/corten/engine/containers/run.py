"""One run of a container: one stack of acquisitions, each with its release.

What is on the stack when a start fails is what is on it when the run has ended, so both take the same way down. A
release that no client can observe (a namespace, a control group) goes on behind the answer, and is awaited by
`Container.torn_down`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, KeysView, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import msgspec

from corten.aio.threads import answered
from corten.engine import cdi
from corten.engine.configuration import Configuration, Settings
from corten.engine.containers import (
    balance,
    emulated,
    guests,
    health,
    held,
    links,
    membership,
    mounts,
    parents,
    records,
    secrets,
)
from corten.engine.containers import files as container_files
from corten.engine.containers import network as container_network
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.damage import whole
from corten.engine.containers.links import linked, linking
from corten.engine.containers.phases import Phases
from corten.engine.containers.volume_events import MountedVolumes
from corten.engine.subpaths import with_subpaths
from corten.errors import Conflict, CortenError, Invalid, NotFound, NotModified, StartFailed
from corten.kernel import paths
from corten.kernel.full_disk import writing
from corten.network.guest import Tap
from corten.plan import bundle, runtimes
from corten.plan.cdi import apply
from corten.plan.devices import block_devices
from corten.plan.document import container_spec
from corten.plan.facts import HostFacts, MountPoint, SpecInputs
from corten.plan.isolation import guest_of
from corten.plan.mounts import bundle_files
from corten.plan.namespaces import joins, remapped
from corten.plan.security import capabilities, normalize_capabilities, parse_security_options, unfiltered
from corten.spec.docker import times
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, Exit, LogFile, Namespace, Task

log = logging.getLogger(__name__)


def check_startable(container: Container) -> None:
    """Raises NotModified for a container that runs, and Conflict for one that cannot be started."""
    status = container.status
    if container.gone or status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")
    if status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    if status == "running":
        raise NotModified(f"container {container.record.name} is already running")


async def start(containers: Containers, container: Container) -> dict[str, float]:
    """Seconds by phase. Nothing is left of a start that failed. Raises Conflict, StartFailed.

    The caller holds the lock and has called `check_startable`; it has to see to the end, as `lifecycle.keep` does.
    """
    record, phases = container.record, Phases()
    await container.torn_down()
    try:
        async with AsyncExitStack() as stack:
            task, waiting = await _acquire(containers, container, stack, phases)
            try:
                _record_start(containers, container, task, phases)
            except BaseException:
                await task.destroy()
                raise
            container.release = stack.pop_all()
    except BaseException as error:
        _record_failure(containers, container, error)
        raise
    container.run(task)
    held.hold_others(container, task, waiting)
    health.begin(containers, container)
    containers.publish(container, "start")
    await container_files.rewrite_network(containers, [*linking(containers, container), *containers.members(container)])
    await _serve_late(container, task)
    return record.timing


def _record_start(containers: Containers, container: Container, task: Task, phases: Phases) -> None:
    record = container.record
    record.timing = phases.total()
    state = records.State("running", pid=task.pid, started_at=times.now(), finished_at=record.state.finished_at)
    record.state, record.stopped = state, False
    record.endpoints = {name: endpoint.record for name, endpoint in container.endpoints.items()}
    containers.save(container)


async def _serve_late(container: Container, task: Task) -> None:
    """Clients that attached while the task was being made: too late for its creation, too early to find it."""
    for stream in container.early.take():
        try:
            await task.attach(stream)
        except (CortenError, OSError) as error:  # it has ended already, and the client's stream with it
            log.debug("container %s: a client came too late: %s", container.id, error)


async def release(container: Container) -> None:
    """Give back what the run acquired. An error is logged: what is left is swept at the daemon's next start."""
    stack, container.release, container.task = container.release, None, None
    container.close_early()
    if container.health is not None:
        container.health.stop()
    if stack is None:
        return
    try:
        await stack.aclose()
    except Exception as error:
        log.error("container %s was not torn down completely: %s", container.id, error, exc_info=error)


async def adopt(containers: Containers, container: Container) -> bool:
    """Take over a task of an earlier daemon, with its network; False when there is no trace of it."""
    record = container.record
    task = await containers.runtime.adopt(make_bundle(container, containers.configuration.settings))
    if task is None and not record.endpoints:
        return False
    async with AsyncExitStack() as stack:
        MountedVolumes(containers.events, container, stack).adopted()
        await container_network.adopt_all(containers, container, stack)
        if task is not None:
            balance.adopt(containers, container, stack)
            _push_background(containers, container, stack, task.delete, "task")
        if record.pod is not None:
            membership.alone(containers, record, stack)
        container.release = stack.pop_all()
        if task is not None:
            mounts.note(containers.stores.volumes, container, task, container.release)
    if task is None:
        return False
    container.run(task)
    return True


async def complete_adoption(containers: Containers, container: Container) -> None:
    """What an adopted run has lost of its network is restored, and its health is checked again."""
    await container_network.serve_again(containers, container)
    health.begin(containers, container)
    if container.health is not None:
        container.health.adopted = True


def _record_failure(containers: Containers, container: Container, error: BaseException) -> None:
    """A start that failed leaves its reason in the record, as Docker's does."""
    state = container.record.state
    container.close_early()
    if not isinstance(error, (CortenError, OSError)):
        return
    code = error.exit_code if isinstance(error, StartFailed) else state.exit_code or 128  # as dockerd
    status: records.Status = "exited" if state.started_at else "created"
    container.record.state = records.State(
        status, exit_code=code, error=str(error), started_at=state.started_at, finished_at=state.finished_at
    )
    shown = str(error) if state.status == "restarting" else ""  # else it is the answer to the start
    if state.status == "restarting":  # who has seen the end before as no last one hears that it was
        containers.publish(container, "die", execDuration="0", exitCode=str(code))
    container.wake(Exit(code, time.time(), error=shown), "not-running", "next-exit")
    containers.save(container)


async def _acquire(
    containers: Containers, container: Container, stack: AsyncExitStack, phases: Phases
) -> tuple[Task, KeysView[str]]:
    """Its task, started, and the keys of the clients that the supervisor knows to wait for its end."""
    record = container.record
    facts = membership.facts_of(record, containers.configuration.facts)
    async with AsyncExitStack() as until_made:
        with phases.phase("prepare"):
            namespaces = _joined(containers, container, until_made)
            shared = _shared_memory(containers, record.host_config)
            if record.pod is not None:
                membership.alone(containers, record, stack)
                shared = await membership.join(containers, record.pod, namespaces, until_made)
            linked(containers, container)
            await _make_sources(container)
            parents.record_missing(containers, container)
            in_guest = guest_of(record.host_config)
            rootfs = guests.rootfs() if in_guest else containers.stores.snapshots.mounts(record.id)
            await container_files.prepare(container, bundle.root_owner(record.host_config, facts))
        namespace = await _network_namespace(containers, container, until_made, phases)
        if namespace is not None and not (in_guest and record.pod is not None):  # a pod's is not QEMU's to be in
            namespaces["network"] = str(namespace.path)
            if namespace.user is not None:
                namespaces["user"] = str(namespace.user)
        with phases.phase("specification"):
            mounted = await mounts.mounted(containers.stores, record.mounts, until_made)
            others = [point for point in record.mounts if point.destination not in mounted]
            if record.pod is not None:
                others = membership.with_ids(others, record.pod)
            points = await with_subpaths(others, until_made)
            points += mounts.those(record.mounts, mounted)
            asked = inputs(containers, container, namespaces, shared, points, mounted)
            spec = await _specified(asked, _facts(containers.configuration, record), record.host_config)
            if record.host_config.device_requests:
                await _add_devices(containers.configuration, spec, record.host_config)
            spec["mounts"] += await secrets.mount(containers, container, until_made)
            write_spec(container, spec)
        needed = None if in_guest else await emulated.needed(record)
        made = replace(
            make_bundle(container, containers.configuration.settings, rootfs=rootfs),
            cgroup=spec["linux"]["cgroupsPath"],
            clone_namespaces=bundle.clone_namespaces(spec),
            emulators=needed.lines if needed is not None else (),
            userns=namespaces.get("user", "") if needed is not None else "",
        )
        volumes = MountedVolumes(containers.events, container, stack)
        try:
            with emulated.explained(needed):
                task = await _side_by_side(containers, container, stack, phases, made, namespace, spec)
        except StartFailed:
            volumes.mounted()  # they were, before its program turned out to be none
            raise
        if in_guest:
            record.volume_mounts = {}  # no other container finds them in its machine
        else:
            await mounts.number(containers.stores.volumes, container, task)
        mounts.note(containers.stores.volumes, container, task, stack)
        volumes.mounted()
    await balance.share(containers, container, stack)
    with phases.phase("hosts"):
        await container_files.write_network(containers, container)
    with phases.phase("start"):
        waiting = held.connections(container)
        with emulated.explained(needed):
            timing = await task.start(waiting)  # a supervisor was made in "create"; its program starts here
        for name, seconds in timing.items():
            phases.seconds[f"start.{name}" if name == "execve" else f"create.{name}"] = seconds
    return task, waiting.keys()


async def _network_namespace(
    containers: Containers, container: Container, stack: AsyncExitStack, phases: Phases
) -> Namespace | None:
    """Its sandbox's, open until the task is in it; None when it shares another's."""
    record = container.record
    if not container_network.own_namespace(record):
        return None
    with phases.phase("namespace"):
        if record.pod is not None:
            namespace = await membership.network_of(containers, record.pod)
            stack.callback(namespace.close)
            return namespace
        members = [member.task for member in containers.members(container) if member.task is not None]
        id_map = bundle.id_map(record.host_config, containers.configuration.facts)
        number = record.network_namespace if members else 0
        namespace = await containers.sandboxes.open(record.id, members, id_map, number)
    record.network_namespace = os.fstat(namespace.fd).st_ino
    stack.callback(namespace.close)
    return namespace


async def _side_by_side(
    containers: Containers,
    container: Container,
    stack: AsyncExitStack,
    phases: Phases,
    made: Bundle,
    namespace: Namespace | None,
    spec: Json,
) -> Task:
    """The task and the network are made at the same time; each that came about is on the stack before an error is. Of a
    guest the interfaces are part of its machine: it comes behind them."""

    async def create() -> Task:
        await container.attached()
        if guest_of(container.record.host_config):
            return await create_guest()
        with phases.phase("create"):
            return await containers.runtime.create(made, container.early.take())

    async def create_guest() -> Task:
        assert namespace is not None
        taps = await connecting
        await container_files.write_network(containers, container)
        async with AsyncExitStack() as held:
            with phases.phase("guest"):
                names = await container_network.name_client(containers, container, namespace)
                if names >= 0:
                    held.callback(os.close, names)
                try:
                    async with container.lend():  # a boot may be waited for
                        said = partial(_boots, containers, container)
                        facts = containers.configuration.facts
                        blocks = await answered(partial(block_devices, container.record.host_config, facts), "a device")
                        guest = await guests.guest(
                            containers.stores, container, spec, taps, names, held, said, blocks, of_image=True
                        )
                finally:
                    container.waiting = ""
            with phases.phase("create"):
                return await containers.runtime.create(replace(made, guest=guest), container.early.take())

    async def connect() -> Sequence[Tap]:
        with phases.phase("network"):
            return await container_network.connect_all(containers, container, namespace, stack)

    creating = asyncio.ensure_future(create())  # first: the launcher works while the network is made here
    connecting = asyncio.ensure_future(connect())
    both = asyncio.gather(creating, connecting, return_exceptions=True)
    try:
        await asyncio.shield(both)
    finally:  # also when this is cancelled
        task, connected = await both
        if not isinstance(connected, BaseException):
            for tap in connected:
                os.close(tap.fd)  # the device is kept by the machine, or goes
        if not isinstance(task, BaseException):
            _push_background(containers, container, stack, task.delete, "task")
    if isinstance(connected, BaseException):
        raise connected
    if isinstance(task, BaseException):
        raise task
    return task


def _boots(containers: Containers, container: Container) -> None:
    """Half a minute without a word, where guests are emulated."""
    container.waiting = "the first guest of this daemon boots, and later ones are cloned from it"
    containers.publish(container, "boot")


def _push_background(
    containers: Containers,
    container: Container,
    stack: AsyncExitStack,
    release: Callable[[], Awaitable[None]],
    what: str,
) -> None:
    """Push a release that goes on behind the answer when its turn comes."""

    async def run() -> None:
        await release()

    def begin() -> None:
        task = containers.changing.spawn(run(), f"taking away the {what} of container {container.id}")
        container.teardown.add(task)
        task.add_done_callback(container.teardown.discard)

    stack.callback(begin)


def _joined(containers: Containers, container: Container, held: AsyncExitStack) -> dict[str, str]:
    """Paths of the namespaces of other containers that this one shares, by descriptors that `held` closes. Raises
    Conflict when one of them does not run."""
    found = {}
    record, host, facts = container.record, container.record.host_config, containers.configuration.facts
    record.sandbox = ""
    for kind, mode in (("network", host.network_mode), ("pid", host.pid_mode), ("ipc", host.ipc_mode)):
        if name := joins(mode):
            other = containers.get(name)
            if other.task is None or not other.record.state.has_task:
                raise Conflict(f"cannot join {kind} of a non running container: {other.id}")
            if kind == "network":  # one network, one name in it
                names = other.record.config
                record.config = record.config.replace(hostname=names.hostname, domainname=names.domainname)
                record.sandbox = other.record.sandbox or other.id
            if kind == "ipc":
                _check_shareable(other)
            try:
                fd = other.task.open_namespace(kind)
            except NotFound as error:
                raise Conflict(f"cannot join {kind} of a non running container: {other.id}") from error
            held.callback(os.close, fd)
            if kind == "network":
                record.network_namespace = os.fstat(fd).st_ino
                if remapped(host, facts) and remapped(other.record.host_config, facts):
                    user = other.task.open_namespace("user")  # which owns it: only from there can it be entered
                    held.callback(os.close, user)
                    found["user"] = f"/proc/{os.getpid()}/fd/{user}"
            found[kind] = f"/proc/{os.getpid()}/fd/{fd}"
    return found


def _check_shareable(other: Container) -> None:
    """Conflict for an IPC namespace that its container keeps to itself (or has none of)."""
    mode = other.record.host_config.ipc_mode
    if mode not in ("shareable", "host") and not joins(mode):
        raise Conflict(f"cannot join IPC of container {other.id}: its IPC mode is {mode}, start it with shareable")


def _shared_memory(containers: Containers, host_config: HostConfig) -> str | None:
    """/dev/shm of the container whose IPC namespace is joined, as the runtime finds it; None for one of its own."""
    if not (name := joins(host_config.ipc_mode)):
        return None
    other = containers.get(name)
    if other.task is None:
        raise Conflict(f"cannot join ipc of a non running container: {other.id}")
    return f"{other.task.root()}/dev/shm"


def write_spec(container: Container, spec: Json) -> None:
    """Its config.json. The disk's OSError, and Corrupt as of `damage.whole`."""
    path = f"{container.bundle}/config.json"
    with whole(container), writing(path), open(path, "wb") as file:
        file.write(msgspec.json.encode(spec))


def inputs(
    containers: Containers,
    container: Container,
    namespaces: dict[str, str],
    shm: str | None,
    mounts: Sequence[MountPoint],
    mounted: Mapping[str, Mount],
) -> SpecInputs:
    record = container.record
    return SpecInputs(
        id=record.id,
        name=record.name,
        config=record.config,
        host_config=record.host_config,
        bundle=container.bundle,
        files=bundle_files(str(container.bundle)),
        mounts=mounts,
        namespaces=namespaces,
        seccomp=_seccomp(containers, record),
        shm_path=shm,
        cgroup_path=f"{parents.parent_of(containers, record.host_config)}/{record.id}",
        mounted=mounted,
        linked_env=links.environment(containers, container),
        ambient=normalize_capabilities("AmbientCapabilities", record.pod.ambient) if record.pod else (),
        strict_groups=record.pod is not None and record.pod.strict,
    )


def _facts(configuration: Configuration, record: records.Record) -> HostFacts:
    """runc before 1.2 refuses a namespace that it has not heard of."""
    facts = membership.facts_of(record, configuration.facts)
    external = runtimes.find(record.host_config.runtime, configuration.settings.runtimes).external
    return replace(facts, time_namespace=False) if external else facts


async def _specified(asked: SpecInputs, facts: HostFacts, host_config: HostConfig) -> Json:
    """The runtime specification. What it says of devices is looked at: Invalid, Unavailable."""
    named = host_config.devices or host_config.blkio_weight_device or host_config.blkio_device_read_bps
    named = named or host_config.blkio_device_write_bps or host_config.blkio_device_read_iops
    if not (named or host_config.blkio_device_write_iops):
        return container_spec(asked, facts)
    return await answered(partial(container_spec, asked, facts), "a device")


async def _add_devices(configuration: Configuration, spec: Json, host_config: HostConfig) -> None:
    """What its CDI devices need. Raises Invalid, Conflict, Unsupported, Unavailable."""
    read = partial(cdi.edits, configuration.settings.cdi_spec_dirs, host_config.device_requests or ())
    edits = await answered(read, "a directory of CDI files")
    await answered(partial(apply, spec, edits, configuration.facts), "a device")


def _seccomp(containers: Containers, record: records.Record) -> Json | None:
    """In a guest the system calls are those of its own machine."""
    host_config = record.host_config
    profile = parse_security_options(host_config.security_opt).seccomp
    if unfiltered(host_config, profile):
        return None
    facts = containers.configuration.facts
    machine = guests.architecture(record.machine) if guest_of(host_config) else ""
    return containers.seccomp(profile, capabilities(host_config, facts), machine)


def make_bundle(container: Container, settings: Settings, rootfs: tuple[Mount, ...] = ()) -> Bundle:
    """The bundle of a record; `adopt` needs no `rootfs`."""
    config, host = container.record.config, container.record.host_config
    rows, columns = host.console_size if all(number < 1 << 16 for number in host.console_size) else (0, 0)
    runtime = runtimes.find(host.runtime, settings.runtimes)
    return Bundle(
        id=container.id,
        path=container.bundle,
        rootfs=rootfs,
        log=_log_file(container, settings),
        terminal=config.tty,
        open_stdin=config.open_stdin,
        stdin_once=config.stdin_once,
        console_size=(rows, columns),
        runtime=runtime.path,
        runtime_args=runtime.args,
    )


def _log_file(container: Container, settings: Settings) -> LogFile:
    record = container.record
    if record.pod is not None:
        return membership.log_file(record.pod)
    return bundle.log_file(container.log_path, record.config, record.host_config, settings.log_defaults)


async def _make_sources(container: Container) -> None:
    """Missing sources of -v are made at each start, as Docker does; those of --mount are not. Raises Unavailable, and
    Invalid for one that cannot be made."""
    sources = [point.source for point in container.record.mounts if point.type == "bind" and point.create]

    def make() -> None:
        for source in sources:
            if not os.path.lexists(source):
                try:
                    paths.make_public(source)
                except OSError as error:
                    text = os.strerror(error.errno or 0).lower()
                    raise Invalid(f"error while creating mount source path '{source}': {text}") from error

    if sources:
        await answered(make, "the source of a bind mount")
