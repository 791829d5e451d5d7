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
from corten.build.work.rooms import TREES, Rooms
from corten.errors import StartFailed, Unsupported
from corten.layers import tree
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.resolver import Sockets
from corten.plan import bundle
from corten.plan.namespaces import remapped
from corten.plan.security import capabilities
from corten.spec import platform as platforms
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, LogFile, Namespace, Stream, Task
from corten.tasks.emulation import Emulation, emulation

HOST = Namespace(Path("/proc/1/ns/net"), -1, -1)  # nothing is ever done in it
_LAST = 5.0  # seconds for the last output of a shell that has ended
_FILES = ("hostname", "hosts", "resolv.conf")


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
        if remapped(self._host, self._facts):
            raise Unsupported("builds are not supported by a daemon that runs containers in a user namespace")

    async def run(self, write: Callable[[int, bytes], None]) -> None:
        """Until its process has ended; its tree is then an active one. StepFailed: with another status than 0."""
        async with AsyncExitStack() as stack:
            if self._step.platform:
                self._emulation = await asyncio.to_thread(emulation, platforms.parse(self._step.platform))
            rootfs = self._rooms.trees.prepare(self.key, top_of(self._parent))
            await self._prepare(stack)
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
            rootfs = self._rooms.trees.prepare(self.key, top_of(self._parent))
            await self._prepare(stack)
            ours, theirs = socket.socketpair()
            with ours, theirs:
                task = await self._task(stack, rootfs, Stream(theirs.detach(), mux=False), terminal.size)
                await _at_terminal(task, terminal, ours.detach())

    async def _prepare(self, stack: AsyncExitStack) -> None:
        memory.make(self._rooms.memory, self.id)
        stack.callback(memory.leave, self._rooms.memory)
        stack.push_async_callback(to_removal_thread, _remove, self._bundle, self._disk)
        texts = {"hostname": f"{self._step.hostname}\n"}
        for name in _FILES:
            _write(self._bundle / name, texts.get(name, "").encode())
        mounting = Mounting(self._rooms, self._caches, self._client, self._bundle, self._disk, stack)
        self._mounts = await mounting.mount(self._step)

    async def _task(
        self, stack: AsyncExitStack, rootfs: tuple[Mount, ...], stream: Stream, console: tuple[int, int] | None = None
    ) -> Task:
        """`console` is the size of its terminal, where it has one."""
        async with AsyncExitStack() as until_made:
            namespaces: dict[str, str] = {}
            namespace = HOST
            if self._host.network_mode != "host":
                namespace = await self._rooms.namespaces.create()
                until_made.callback(namespace.close)
                namespaces["network"] = str(namespace.path)
            spec = self._specification(namespaces, console)
            self.stubs = specification.stubs(spec)
            (self._bundle / "config.json").write_bytes(msgspec.json.encode(spec))
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
        return specification.specification(
            self.id,
            self._step,
            self._bundle,
            namespaces,
            seccomp,
            cgroup,
            self._facts,
            self._mounts,
            console,
        )

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
        _write(self._bundle / "hosts", hosts.encode())
        _write(self._bundle / "resolv.conf", networks.resolv_conf([endpoint]).encode())


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


def _write(path: Path, data: bytes) -> None:
    """A file that users of the step read; the daemon's umask is private."""
    path.write_bytes(data)
    os.chmod(path, 0o644)
