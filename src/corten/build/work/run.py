"""One RUN: a task like a container's, without a record, a name, a restart policy or an event.

One stack of acquisitions, each with its release, as a container's run has it; what is left of a killed daemon is taken
away at the next start (`recovery`).
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from corten.aio.tasks import end
from corten.aio.threads import to_removal_thread
from corten.build.contract import Client, RunStep, StepFailed, Terminal
from corten.build.work import memory, specification
from corten.build.work.caches import Caches
from corten.build.work.layer import top_of
from corten.build.work.mounts import Mounting, StepMounts
from corten.build.work.output import Output
from corten.build.work.recovery import TREES
from corten.build.work.rooms import Rooms
from corten.errors import Exhausted, StartFailed
from corten.kernel.full_disk import FULL
from corten.layers import tree
from corten.layers.owners import AS_THEY_ARE, Owners
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.resolver import Sockets
from corten.plan import bundle
from corten.plan.cdi import apply
from corten.plan.facts import HostFacts
from corten.plan.namespaces import remapped
from corten.plan.security import capabilities
from corten.plan.validate.security import check_remapped
from corten.spec import platform as platforms
from corten.spec.cdi import Edits
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, LogFile, Namespace, Stream, Task
from corten.tasks.emulation import Emulation, emulation

HOST = Namespace(Path("/proc/1/ns/net"), -1, -1)  # nothing is ever done in it
_LAST = 5.0  # seconds for the last output of a shell that has ended
_FILES = ("hostname", "hosts", "resolv.conf")  # on the disk: a step may write to them, as much as it likes


class Run:
    """`id` is the task's, `key` its active tree's; `stubs` are the places that something was mounted on."""

    def __init__(self, rooms: Rooms, caches: Caches, parent: Sequence[str], step: RunStep, client: Client) -> None:
        self.id = secrets.token_hex(32)
        self.key = TREES + self.id
        self.stubs: list[str] = []
        self._rooms = rooms
        self._caches = caches
        self._mounts = StepMounts()
        self._parent = parent
        self._step = step
        self._client = client
        self._bundle = rooms.memory / self.id  # secrets may be in its specification, as variables
        self._disk = rooms.root / "steps" / self.id
        self._facts = rooms.facts()
        self._host = specification.host_config(step, self._facts)
        self._emulation: Emulation | None = None  # for programs of another machine
        self._edits: Sequence[Edits] = ()
        self._left_out: Sequence[str] = ()  # devices
        self.ids: Json | None = None  # the maps of its user namespace, where its tree has the ids of the host
        self._mapped = remapped(self._host, self._facts)
        check_remapped(self._host, self._facts)

    async def run(self, write: Callable[[int, bytes], None]) -> None:
        """Until its process has ended; its tree is then an active one. StepFailed: with another status than 0."""
        async with AsyncExitStack() as stack:
            if self._step.platform:
                self._emulation = await asyncio.to_thread(emulation, platforms.parse(self._step.platform))
            rootfs = self._tree()
            await self._prepare(stack)
            for name in self._left_out:
                write(2, f"CDI device {name} is not here, and not required: the step has none\n".encode())
            output = Output(write)
            task = None
            try:
                task = await self._task(stack, rootfs, Stream(output.give(), stdin=False, mux=True))
                status = await _status(task, output)
            except StartFailed as error:
                if error.exit_code == 125:
                    await self._check_user()
                    raise
                write(2, f"{error}\n".encode())
                status = error.exit_code
                if status == 126 and self._emulation is not None and self._emulation.missing:
                    write(2, f"{self._emulation.missing}\n".encode())
            finally:
                output.close()
        if status:
            raise StepFailed(self._step.args, status)

    async def shell(self, terminal: Terminal) -> None:
        """The same at a terminal, until the program or the client ends it. Raises StartFailed."""
        async with AsyncExitStack() as stack:
            rootfs = self._tree()
            await self._prepare(stack)
            ours, theirs = socket.socketpair()
            with ours, theirs:
                task = await self._task(stack, rootfs, Stream(theirs.detach(), mux=False), terminal.size)
                await _at_terminal(task, terminal, ours.detach())

    def _tree(self) -> tuple[Mount, ...]:
        """The step's own. In a user namespace an overlay has what is written with the ids of the host, and a bind shows
        those of the disk as the namespace's."""
        rootfs = self._rooms.trees.prepare(self.key, top_of(self._parent))
        if self._mapped:
            (mount,) = rootfs
            if mount.type == "bind":
                return (mount._replace(options=(*mount.options, "idmap")),)
            self.ids = dict(_maps(self._facts))
        return rootfs

    async def _prepare(self, stack: AsyncExitStack) -> None:
        memory.make(self._rooms.memory, self.id)
        stack.callback(memory.leave, self._rooms.memory)
        stack.push_async_callback(to_removal_thread, _remove, self._bundle, self._disk)
        texts = {"hostname": f"{self._step.hostname}\n"}
        self._disk.mkdir(mode=0o700, parents=True)
        for name in _FILES:
            _write(self._disk / name, texts.get(name, "").encode())
            os.chown(self._disk / name, *bundle.root_owner(self._host, self._facts))
        owners = Owners(**_maps(self._facts)) if self._mapped else AS_THEY_ARE
        mounting = Mounting(self._rooms, self._caches, self._client, self._bundle, self._disk, stack, owners)
        self._mounts = await mounting.mount(self._step)
        if self._step.devices:
            self._edits, self._left_out = await self._rooms.devices(self._step.devices)

    async def _task(
        self, stack: AsyncExitStack, rootfs: tuple[Mount, ...], stream: Stream, console: tuple[int, int] | None = None
    ) -> Task:
        """`console` is the size of its terminal, where it has one."""
        async with AsyncExitStack() as until_made:
            namespaces: dict[str, str] = {}
            namespace = HOST
            if self._host.network_mode != "host":
                namespace = await self._rooms.namespaces.create(bundle.id_map(self._host, self._facts))
                until_made.callback(namespace.close)
                namespaces["network"] = str(namespace.path)
                if namespace.user is not None:
                    namespaces["user"] = str(namespace.user)
            spec = self._specification(namespaces, console)
            self.stubs = specification.stubs(spec)
            _write(self._bundle / "config.json", msgspec.json.encode(spec), 0o600)
            made = Bundle(
                id=self.id,
                emulators=self._emulation.lines if self._emulation is not None else (),
                path=self._bundle,
                rootfs=rootfs,
                log=LogFile(None),
                terminal=console is not None,
                open_stdin=console is not None,
                console_size=console or (0, 0),
                cgroup=spec["linux"]["cgroupsPath"],
                clone_namespaces=bundle.clone_namespaces(spec),
                spill=self._disk,
                userns=namespaces.get("user", "") if self._emulation is not None else "",
            )
            task, endpoint = await self._side_by_side(stack, made, stream, namespace)
        self._write_network(endpoint)
        await task.start()
        return task

    async def _check_user(self) -> None:
        """Whether that is why it could not be started: Invalid."""
        below = self._rooms.trees.view(top)[0].entry() if (top := top_of(self._parent)) is not None else None
        await self._rooms.steps.ask({"do": "step user", "base": below, "user": self._step.user}, [])

    def _specification(self, namespaces: dict[str, str], console: tuple[int, int] | None) -> Json:
        seccomp = None
        if not self._host.privileged:
            seccomp = self._rooms.seccomp("", capabilities(self._host, self._facts))
        parent = self._host.cgroup_parent or self._rooms.cgroup_parent
        cgroup = f"{parent if parent.startswith('/') else '/' + parent}/{self.id}"
        spec = specification.specification(
            self.id,
            self._step,
            self._bundle,
            self._disk,
            namespaces,
            seccomp,
            cgroup,
            self._facts,
            self._mounts,
            console,
        )
        apply(spec, self._edits, self._facts)
        return spec

    async def _side_by_side(
        self, stack: AsyncExitStack, made: Bundle, stream: Stream, namespace: Namespace
    ) -> tuple[Task, Endpoint]:
        """The task and the network are made at the same time; each that came about is on the stack before an error."""
        both = asyncio.gather(
            self._rooms.runtime.create(made, [stream]), self._connected(namespace), return_exceptions=True
        )
        try:
            await asyncio.shield(both)
        finally:  # also when this is cancelled
            task, endpoint = await both
            if not isinstance(endpoint, BaseException):
                stack.push_async_callback(self._rooms.networks.disconnect, endpoint, quiet=True)
            if not isinstance(task, BaseException):
                stack.push_async_callback(task.delete)
        if isinstance(endpoint, BaseException):
            raise endpoint
        if isinstance(task, BaseException):
            raise task
        return task, endpoint

    async def _connected(self, namespace: Namespace) -> Endpoint:
        networks = self._rooms.networks
        name = specification.network_of(self._step)
        endpoint = await networks.connect(EndpointRequest(name, self.id, namespace), quiet=True)
        try:
            wanted = namespace is not HOST and networks.needs_resolver(self.id)
            if wanted and (made := await self._rooms.namespaces.name_sockets(namespace)):
                await networks.start_resolver(self.id, Sockets(*made))
        except BaseException:
            await networks.disconnect(endpoint, quiet=True)
            raise
        return endpoint

    def _write_network(self, endpoint: Endpoint) -> None:
        networks, step = self._rooms.networks, self._step
        hosts = networks.hosts_file([endpoint], step.hostname, extra=step.hosts)
        _write(self._disk / "hosts", hosts.encode())
        _write(self._disk / "resolv.conf", networks.resolv_conf([endpoint]).encode())


async def _at_terminal(task: Task, terminal: Terminal, fd: int) -> None:
    carrying = asyncio.ensure_future(terminal.carry(fd, task.resize))
    ending = asyncio.ensure_future(task.wait())
    try:
        await asyncio.wait({carrying, ending}, return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            await asyncio.wait({carrying}, timeout=_LAST)
    finally:
        if not ending.done():
            await task.destroy()
        await end([carrying, ending])


async def _status(task: Task, output: Output) -> int:
    try:
        ending = await task.wait()
    except BaseException:
        await task.destroy()
        raise
    await output.drained()
    return ending.status


def _remove(bundle: Path, disk: Path) -> None:
    tree.erase(bundle)
    if disk.exists():
        tree.erase(disk)


def _maps(facts: HostFacts) -> dict[str, list[list[int]]]:
    """The ids of the daemon's user namespaces, as `layers.owners.Owners` has them."""
    maps = {"uids": facts.uid_map, "gids": facts.gid_map}
    return {name: [[line.container, line.host, line.size] for line in lines] for name, lines in maps.items()}


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """A file that users of the step read; the daemon's umask is private. Exhausted on a full disk."""
    try:
        path.write_bytes(data)
    except OSError as error:
        if error.errno in FULL:
            raise Exhausted(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
        raise
    os.chmod(path, mode)
