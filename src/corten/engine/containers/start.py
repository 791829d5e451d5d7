"""Starting a container: one stack of acquisitions, each with its release.

What is on the stack when a start fails is what is on it when the container stops, so both take the same way down. A
release that nobody can observe (a namespace, a cgroup) is only set off here, and awaited by `Container.settled`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from corten.engine.containers import exit as container_exit
from corten.engine.containers import files as container_files
from corten.engine.containers import links, parents, records
from corten.engine.containers import network as container_network
from corten.engine.containers import remove as container_remove
from corten.engine.containers.container import Container
from corten.engine.containers.health import make_probe, watch
from corten.engine.containers.links import linked, linking
from corten.engine.containers.phases import Phases
from corten.engine.parts import Parts
from corten.engine.subpaths import with_subpaths
from corten.errors import Conflict, CortenError, Invalid, NotModified, StartFailed
from corten.kernel import paths
from corten.plan.document import container_spec
from corten.plan.facts import HostFacts, MountPoint, SpecInputs
from corten.plan.mounts import bundle_files
from corten.plan.namespaces import joins, remapped
from corten.plan.security import capabilities, parse_security_options, unfiltered
from corten.plan.validate.logging import max_size
from corten.spec.docker import times
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, IdMap, LogFile, Namespace, Task

if TYPE_CHECKING:
    from corten.engine.containers.containers import Containers

log = logging.getLogger(__name__)

_LOCAL = (20 << 20, 5)  # size and number of files of Docker's log driver "local"


async def start(containers: Containers, container: Container) -> dict[str, float]:
    """Seconds by phase. NotModified when it runs, Conflict in a state that cannot start, StartFailed."""
    async with container.lock:
        _check_startable(container)
        await container.settled()
        try:
            return await start_locked(containers, container)
        except BaseException:
            if container.record.host_config.auto_remove:  # or a client that waits for its removal waits for ever
                await container_remove.remove_locked(containers, container, volumes=True)
            raise


def _check_startable(container: Container) -> None:
    status = container.record.state.status
    if container.gone or status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")
    if status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    if status == "running":
        raise NotModified(f"container {container.record.name} is already running")


async def start_locked(containers: Containers, container: Container) -> dict[str, float]:
    """The start itself; the caller holds the lock and has seen that the container can start."""
    parts, record, phases = containers.parts, container.record, Phases()
    try:
        async with AsyncExitStack() as stack:
            task = await _acquire(containers, container, stack, phases)
            container.release = stack.pop_all()
    except BaseException as error:
        _note_failure(parts, container, error)
        raise
    container.task = task
    container.began()
    record.timing = phases.total()
    state = records.State("running", pid=task.pid, started_at=times.now(), finished_at=record.state.finished_at)
    record.state, record.stopped = state, False
    record.endpoints = {name: endpoint.record for name, endpoint in container.endpoints.items()}
    records.save(parts.table, record)
    parts.events.publish("container", "start", container.id, container.attributes())
    _watch(containers, container, task)
    for other in linking(containers, container):
        container_files.rewrite_network(containers, other)
    await _serve_late(container, task)
    return record.timing


async def _serve_late(container: Container, task: Task) -> None:
    """Clients that attached while the task was being made: too late for its creation, too early to find it."""
    for stream in container.take_pending():
        try:
            await task.attach(stream)
        except CortenError as error:  # it has ended already, and the client's stream with it
            log.debug("container %s: a client came too late: %s", container.id, error)


def _watch(containers: Containers, container: Container, task: Task) -> None:
    """From here on its end is noticed, and its health is probed."""
    watching = containers.parts.watching
    watching.spawn(container_exit.watch(containers, container, task), f"the watch on container {container.id}")
    probe = make_probe(container.record.config)
    container.health = probe
    if probe is not None and containers.probe is not None:
        probing = watch(containers.parts, container, probe, partial(containers.probe, container))
        probe.task = watching.spawn(probing, f"the health check of container {container.id}")


async def adopt(containers: Containers, container: Container) -> bool:
    """Take over a task of an earlier daemon, with its network; False when there is no trace of it."""
    parts, record = containers.parts, container.record
    task = await parts.runtime.adopt(make_bundle(container, parts))
    if task is None and not record.endpoints:
        return False
    async with AsyncExitStack() as stack:
        await container_network.adopt_all(containers, container, stack)
        if task is not None:
            unseen(parts, container, stack, task.delete, "task")
        container.release = stack.pop_all()
    if task is None:
        return False
    container.task = task
    container.began()
    await container_network.serve_again(containers, container)
    _watch(containers, container, task)
    return True


def _note_failure(parts: Parts, container: Container, error: BaseException) -> None:
    """A start that failed leaves its reason in the record, as Docker's does."""
    state = container.record.state
    container.close_pending()
    if not isinstance(error, (CortenError, OSError)):
        return
    code = error.exit_code if isinstance(error, StartFailed) else 128
    status: records.Status = "exited" if state.started_at else "created"
    container.record.state = records.State(
        status, exit_code=code, error=str(error), started_at=state.started_at, finished_at=state.finished_at
    )
    records.save(parts.table, container.record)


async def _acquire(containers: Containers, container: Container, stack: AsyncExitStack, phases: Phases) -> Task:
    parts, record = containers.parts, container.record
    with phases.phase("prepare"):
        namespaces = _joined(containers, container)
        linked(containers, container)
        _make_sources(container)
        parents.note(parts, container)
        rootfs = parts.snapshots.mounts(record.id)
        container_files.prepare(container, _root_owner(parts, record.host_config))
    async with AsyncExitStack() as held:
        namespace = await _network_namespace(parts, container, held, phases)
        if namespace is not None:
            namespaces["network"] = str(namespace.path)
            if namespace.user is not None:
                namespaces["user"] = str(namespace.user)
        with phases.phase("specification"):
            shared = _shared_memory(containers, record.host_config)
            inputs = _inputs(parts, container, namespaces, shared, with_subpaths(record.mounts, held))
            inputs = replace(inputs, linked_env=links.environment(containers, container))
            spec = container_spec(inputs, _facts(parts, record.host_config))
            (container.bundle / "config.json").write_bytes(msgspec.json.encode(spec))
        bundle = replace(
            make_bundle(container, parts, rootfs=rootfs), cgroup=spec["linux"]["cgroupsPath"], born=_born(spec)
        )
        task = await _side_by_side(containers, container, stack, phases, bundle, namespace)
    with phases.phase("hosts"):
        container_files.write_network(containers, container)
    with phases.phase("start"):
        for name, seconds in (await task.start()).items():  # a supervisor was made in "create"; its program starts here
            phases.seconds[f"start.{name}" if name == "execve" else f"create.{name}"] = seconds
    return task


def _born(spec: Json) -> tuple[str, ...] | None:
    """See `Bundle.born`."""
    paths = {namespace["type"]: namespace.get("path") for namespace in spec["linux"]["namespaces"]}
    if "user" in paths or paths.get("pid"):
        return None
    return tuple(kind for kind in ("pid", "time") if kind in paths)


async def _network_namespace(
    parts: Parts, container: Container, stack: AsyncExitStack, phases: Phases
) -> Namespace | None:
    """A namespace of its own, open until the task is in it; None when it shares another's."""
    record = container.record
    if not container_network.own_namespace(record):
        return None
    with phases.phase("namespace"):
        namespace = await parts.namespaces.create(_id_map(parts, record))
    stack.callback(namespace.close)
    return namespace


def _root_owner(parts: Parts, host_config: HostConfig) -> tuple[int, int]:
    if not remapped(host_config, parts.facts):
        return 0, 0
    return parts.facts.uid_map[0].host, parts.facts.gid_map[0].host


def _id_map(parts: Parts, record: records.Record) -> IdMap | None:
    if not remapped(record.host_config, parts.facts):
        return None
    uids, gids = (
        "".join(f"{line.container} {line.host} {line.size}\n" for line in lines)
        for lines in (parts.facts.uid_map, parts.facts.gid_map)
    )
    return IdMap(uids, gids)


async def _side_by_side(
    containers: Containers,
    container: Container,
    stack: AsyncExitStack,
    phases: Phases,
    bundle: Bundle,
    namespace: Namespace | None,
) -> Task:
    """The task and the network are made at the same time; each that came about is on the stack before an error is."""
    parts = containers.parts

    async def create() -> Task:
        await container.arrived()
        with phases.phase("create"):
            return await parts.runtime.create(bundle, container.take_pending())

    async def connect() -> None:
        with phases.phase("network"):
            await container_network.connect_all(containers, container, namespace, stack)

    creating, connecting = asyncio.ensure_future(create()), asyncio.ensure_future(connect())
    await asyncio.wait({creating, connecting})
    if not creating.exception():
        unseen(parts, container, stack, creating.result().delete, "task")
    connecting.result()
    return creating.result()


def unseen(
    parts: Parts, container: Container, stack: AsyncExitStack, release: Callable[[], Awaitable[None]], what: str
) -> None:
    """Push a release that is only set off when its turn comes, and goes on behind the answer."""

    async def run() -> None:
        await release()

    def set_off() -> None:
        task = parts.changing.spawn(run(), f"taking away the {what} of container {container.id}")
        container.unseen.add(task)
        task.add_done_callback(container.unseen.discard)

    stack.callback(set_off)


def _joined(containers: Containers, container: Container) -> dict[str, str]:
    """Paths of the namespaces of other containers that this one shares. Conflict when one does not run."""
    found = {}
    record, host = container.record, container.record.host_config
    for kind, mode in (("network", host.network_mode), ("pid", host.pid_mode), ("ipc", host.ipc_mode)):
        if name := joins(mode):
            other = containers.get(name)
            if not other.record.state.has_task:
                raise Conflict(f"cannot join {kind} of a non running container: {other.id}")
            if kind == "network":  # one network, one name in it
                record.config = record.config.replace(hostname=other.record.config.hostname)
            if kind == "ipc":
                _check_shareable(other)
            found[kind] = f"/proc/{other.record.state.pid}/ns/{'net' if kind == 'network' else kind}"
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
    return f"/proc/{containers.get(name).record.state.pid}/root/dev/shm"


def _inputs(
    parts: Parts, container: Container, namespaces: dict[str, str], shm: str | None, mounts: Sequence[MountPoint]
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
        seccomp=_seccomp(parts, record.host_config),
        shm_path=shm,
        cgroup_path=f"{parents.parent_of(parts, record.host_config)}/{record.id}",
    )


def _facts(parts: Parts, host_config: HostConfig) -> HostFacts:
    """runc before 1.2 refuses a namespace that it has not heard of."""
    ours = runtime_path(parts, host_config.runtime) == "corten"
    return parts.facts if ours else replace(parts.facts, time_namespace=False)


def _seccomp(parts: Parts, host_config: HostConfig) -> Json | None:
    profile = parse_security_options(host_config.security_opt).seccomp
    if unfiltered(host_config, profile):
        return None
    return parts.seccomp(profile, capabilities(host_config, parts.facts))


def make_bundle(container: Container, parts: Parts, rootfs: tuple[Mount, ...] = ()) -> Bundle:
    """The bundle of a record; `adopt` needs no `rootfs`."""
    config, host = container.record.config, container.record.host_config
    rows, columns = host.console_size
    return Bundle(
        id=container.id,
        path=container.bundle,
        rootfs=rootfs,
        log=log_file(container, parts),
        terminal=config.tty,
        open_stdin=config.open_stdin,
        stdin_once=config.stdin_once,
        console_size=(rows, columns),
        runtime=runtime_path(parts, host.runtime),
    )


def runtime_path(parts: Parts, name: str) -> str:
    """ "corten", or the binary of another OCI runtime. Invalid for a name that the daemon was not given."""
    if name in ("", "corten"):
        return "corten"
    if (path := parts.settings.runtimes.get(name)) is None:
        raise Invalid(f"unknown or invalid runtime name: {name}")
    return path


def log_file(container: Container, parts: Parts) -> LogFile:
    """Docker's options max-size, max-file, labels and env, and our defaults: logs are rotated when nobody says how."""
    settings, config = parts.settings, container.record.config
    log = container.record.host_config.log_config
    options = log.config or {}
    local = log.type == "local"
    default_size, default_files = _LOCAL if local else (settings.log_max_size, settings.log_max_file)
    labels = config.labels or {}
    extra = {key: labels[key] for key in _words(options.get("labels")) if key in labels}
    env = dict(entry.partition("=")[::2] for entry in config.env or ())
    extra |= {key: env[key] for key in _words(options.get("env")) if key in env}
    return LogFile(
        path=container.log_path,
        max_size=max_size(options["max-size"]) if options.get("max-size") else default_size,
        max_file=int(options["max-file"]) if options.get("max-file") else default_files,
        labels=extra,
    )


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").split(",") if word]


def _make_sources(container: Container) -> None:
    """Missing sources of -v are made at each start, as Docker does; those of --mount are not."""
    for point in container.record.mounts:
        if point.type == "bind" and point.create and not os.path.lexists(point.source):
            paths.make_public(point.source)
