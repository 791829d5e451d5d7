"""An engine whose containers are plain processes of this machine: no namespaces, no images, no root needed.

Everything else is real: sockets, hijacked streams, logs on disk, exits. `corten.tasks.contract` says what each of these
stands in for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import termios
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

from corten.aio.background import Background
from corten.engine.engine import Engine
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.engine.parts import Parts, Settings
from corten.engine.volumes import Volumes
from corten.errors import Conflict, NotFound, StartFailed, Unsupported
from corten.images.images import Images
from corten.plan.facts import HostFacts
from corten.sandbox.sandboxes import Sandboxes
from corten.snapshots.tree_store import TreeStore, Usage
from corten.spec.docker import config as docker
from corten.spec.docker.decode import decode
from corten.spec.id_map import IdRange
from corten.spec.image_config import ImageConfig
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, ExecSpec, Exit, IdMap, LogFile, Namespace, Stream
from corten.tasks.host import HostTask
from fake_networks import FakeNetworks

Json = dict[str, Any]


class MemoryTable:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], str] = {}

    def put(self, kind: str, id: str, body: Json) -> None:
        self.rows[kind, id] = json.dumps(body)

    def delete(self, kind: str, id: str) -> None:
        self.rows.pop((kind, id), None)

    def list(self, kind: str) -> Mapping[str, Json]:
        return {id: json.loads(body) for (k, id), body in sorted(self.rows.items()) if k == kind}


class MemorySnapshots:
    def __init__(self) -> None:
        self.active: dict[str, str | None] = {}

    def prepare(self, key: str, parent: str | None) -> tuple[Mount, ...]:
        if key in self.active:
            raise Conflict(f"snapshot {key} exists")
        self.active[key] = parent
        return self.mounts(key)

    def mounts(self, key: str) -> tuple[Mount, ...]:
        if key not in self.active:
            raise NotFound(f"no snapshot {key}")
        return (Mount("bind", "/", "/", ("rbind",)),)

    def view(self, name: str) -> tuple[Mount, ...]:
        return (Mount("bind", "/", "/", ("rbind", "ro")),)

    @property
    def tree_store(self) -> TreeStore:
        raise NotImplementedError("these trees have no directories")

    def usage(self, key: str) -> Usage:
        return Usage(4096, 1)

    def remove(self, key: str) -> None:
        self.active.pop(key, None)


@dataclass
class FakeImage:
    id: str
    config: ImageConfig
    chain_id: str | None
    repo_tags: list[str]
    repo_digests: list[str] = field(default_factory=list)
    size: int = 1000
    created: int = 0

    @property
    def defaults(self) -> docker.ImageConfig:
        return decode(docker.ImageConfig, self.config.config)


class FakeImages:
    """One image, "test:latest", whose default command is `true`."""

    def __init__(self) -> None:
        config = {
            "Cmd": ["true"],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes"],
            "Labels": {"of": "image"},
        }
        self.all = [FakeImage("sha256:" + "ab" * 32, ImageConfig(config=config), "sha256:chain", ["test:latest"])]

    def resolve(self, reference: str) -> FakeImage:
        name = reference if ":" in reference else f"{reference}:latest"
        for image in self.all:
            if (
                reference == image.id
                or image.id.removeprefix("sha256:").startswith(reference)
                or name in image.repo_tags
            ):
                return image
        raise NotFound(f"No such image: {name}")

    async def provide(self, reference: str) -> FakeImage:
        return self.resolve(reference)

    def collect(self) -> None:
        return

    def used(self, id: str) -> None:
        return

    def layers_size(self) -> int:
        return sum(image.size for image in self.all)

    def list(self, filters: object = None, every: bool = False, shared: bool = False) -> list[Json]:
        return [{"Id": i.id, "RepoTags": i.repo_tags, "Size": i.size, "Created": i.created} for i in self.all]

    def inspect(self, reference: str) -> Json:
        image = self.resolve(reference)
        return {"Id": image.id, "RepoTags": image.repo_tags, "Size": image.size, "Config": image.config}


class FakeNamespaces:
    async def create(self, id_map: IdMap | None = None) -> Namespace:
        return Namespace(
            Path("/proc/self/ns/net"), os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
        )

    async def name_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        raise AssertionError("nobody wants names here")

    async def open(self, fd: int) -> Namespace:
        os.close(fd)
        return await self.create()


class NoHolders:
    """No sandbox of this engine is held."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    async def start(self, id: str, id_map: IdMap | None = None) -> Namespace:
        raise Unsupported("this engine has no holders")

    async def open(self, id: str) -> Namespace:
        raise NotFound(f"sandbox {id} is not held")

    async def end(self, id: str) -> None:
        return


class Client:
    """One attached connection."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sock = socket.socket(fileno=stream.fd)
        self.sock.setblocking(False)

    async def send(self, kind: int, data: bytes) -> None:
        wanted = self.stream.stdout if kind == 1 else self.stream.stderr
        if not wanted or self.sock.fileno() < 0:
            return
        frame = struct.pack(">BxxxL", kind, len(data)) + data if self.stream.mux else data
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, frame)
        except OSError:
            self.sock.close()


class Log:
    """Docker's json-file, with rotation."""

    def __init__(self, log: LogFile) -> None:
        self.log = log
        self.partial: dict[str, bytes] = {}
        self.file = open(log.path, "ab") if log.path else None  # noqa: SIM115

    def write(self, kind: str, data: bytes) -> None:
        *lines, self.partial[kind] = (self.partial.get(kind, b"") + data).split(b"\n")
        for line in lines:
            self.entry(kind, line + b"\n")

    def entry(self, kind: str, line: bytes) -> None:
        if self.file is None:
            return
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
        entry: Json = {"log": line.decode(errors="replace"), "stream": kind, "time": stamp}
        if self.log.labels:
            entry["attrs"] = dict(self.log.labels)
        self.file.write(json.dumps(entry).encode() + b"\n")
        self.file.flush()
        if self.log.max_size and self.file.tell() > self.log.max_size:
            self.rotate()

    def rotate(self) -> None:
        path = self.log.path
        assert path is not None and self.file is not None
        self.file.close()
        for number in range(self.log.max_file - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if older.exists():
                older.rename(path.with_name(f"{path.name}.{number}"))
        self.file = open(path, "ab")  # noqa: SIM115

    def close(self) -> None:
        for kind, rest in self.partial.items():
            if rest:
                self.entry(kind, rest)
        if self.file is not None:
            self.file.close()


class Program:
    """A process, the clients of its streams, and its log."""

    running: ClassVar[set[Program]] = set()

    def __init__(self, process: Json, terminal: bool, stdin: bool, log: LogFile, streams: Sequence[Stream]) -> None:
        self.spec = process
        self.terminal = terminal
        self.stdin = stdin
        self.log = Log(log)
        self.clients = [Client(stream) for stream in streams]
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.pid = 0
        self.input = -1
        self.closing_stdin = False
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        args, env = self.spec["args"], dict(e.split("=", 1) for e in self.spec["env"])
        master = slave = -1
        if self.terminal:
            master, slave = pty.openpty()
        pipes: dict[str, Any] = dict.fromkeys(
            ("stdin", "stdout", "stderr"), slave if self.terminal else asyncio.subprocess.PIPE
        )
        if not self.terminal and not self.stdin:
            pipes["stdin"] = asyncio.subprocess.DEVNULL
        try:
            self.process = await asyncio.create_subprocess_exec(*args, env=env, start_new_session=True, **pipes)
        except (FileNotFoundError, PermissionError) as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            text = "executable file not found in $PATH" if code == 127 else "permission denied"
            for client in self.clients if self.log.log.path is None else ():  # an exec says so in its stream
                head = struct.pack(">BxxxL", 1, len(text)) if client.stream.mux else b""
                client.sock.send(head + text.encode())
            self.finish(Exit(code, time.time()))
            raise StartFailed(f'exec: "{args[0]}": {text}', code) from None
        self.pid = self.process.pid
        self.running.add(self)
        if self.terminal:
            os.close(slave)
            self.input = master
            pumps = [self.pump_terminal(master)]
        else:
            assert self.process.stdout and self.process.stderr
            pumps = [self.pump(self.process.stdout, 1), self.pump(self.process.stderr, 2)]
        for client in self.clients:
            self.spawn(self.feed(client))
        self.spawn(self.reap([asyncio.ensure_future(p) for p in pumps]))

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def pump(self, reader: asyncio.StreamReader, kind: int) -> None:
        while data := await reader.read(65536):
            await self.output(kind, data)

    async def pump_terminal(self, master: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.run_in_executor(None, os.read, master, 65536)
            except OSError:
                return
            if not data:
                return
            await self.output(1, data)

    async def output(self, kind: int, data: bytes) -> None:
        self.log.write("stdout" if kind == 1 else "stderr", data)
        for client in self.clients:
            await client.send(kind, data)

    async def reap(self, pumps: list[asyncio.Future[None]]) -> None:
        code = await self.process.wait()
        await asyncio.wait(pumps)
        self.finish(Exit(code if code >= 0 else 128 - code, time.time()))

    def finish(self, exit: Exit) -> None:
        self.running.discard(self)
        self.log.close()
        if not self.exit.done():
            self.exit.set_result(exit)
        for client in self.clients:
            client.sock.close()
        for task in self.tasks:
            task.cancel()

    async def feed(self, client: Client) -> None:
        """What the client sends goes to the process; its end of file is the process's."""
        loop = asyncio.get_running_loop()
        if client.stream.stdin and client.stream.early:
            await self.write(client.stream.early)
        while True:
            try:
                data = await loop.sock_recv(client.sock, 65536)
            except OSError:
                return
            if not data:
                break
            if client.stream.stdin:
                await self.write(data)
        if client.stream.stdin and not self.terminal and self.process.stdin:
            self.process.stdin.close()

    async def write(self, data: bytes) -> None:
        if self.terminal:
            os.write(self.input, data)
        elif self.process.stdin:
            with contextlib.suppress(ConnectionError):
                self.process.stdin.write(data)
                await self.process.stdin.drain()

    def attach(self, stream: Stream) -> None:
        client = Client(stream)
        self.clients.append(client)
        self.spawn(self.feed(client))

    def signal(self, number: int) -> None:
        if self.exit.done() or not self.pid:
            raise NotFound("it has ended")
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError as error:
            raise NotFound("it has ended") from error


async def end_programs() -> None:
    """Kill what still runs, execs and what is being removed among it, and wait for it."""
    while Program.running:
        program = next(iter(Program.running))
        with contextlib.suppress(NotFound):
            program.signal(9)
        await program.exit


class FakeTask(HostTask):
    def __init__(self, runtime: FakeRuntime, bundle: Bundle, program: Program) -> None:
        self.id = bundle.id
        self.pid = 0
        self.runtime = runtime
        self.program = program
        self.execs: dict[str, Program] = {}
        self.updates: list[Json] = []
        self.deleted = False
        self.paused = False

    async def start(self) -> Mapping[str, float]:
        await self.program.start()
        self.pid = self.program.pid
        return {"exec": 0.001}

    async def attach(self, stream: Stream) -> None:
        self.program.attach(stream)

    async def exec(self, spec: ExecSpec, stream: Stream | None) -> int:
        program = Program(spec.process, spec.terminal, spec.stdin, LogFile(None), [stream] if stream else [])
        await program.start()
        self.execs[spec.id] = program
        return program.pid

    async def wait_exec(self, exec_id: str) -> Exit:
        return await asyncio.shield(self.execs[exec_id].exit)

    async def signal_exec(self, exec_id: str, number: int) -> None:
        self.execs[exec_id].signal(number)

    def exec_runs(self, exec_id: str) -> bool:
        return not self.execs[exec_id].exit.done()

    async def signal(self, number: int, everyone: bool = False) -> None:
        self.program.signal(number)

    async def pause(self) -> None:
        self.program.signal(signal.SIGSTOP)
        self.paused = True

    async def resume(self) -> None:
        self.program.signal(signal.SIGCONT)
        self.paused = False

    async def resize(self, rows: int, columns: int, exec_id: str | None = None) -> None:
        program = self.execs[exec_id] if exec_id else self.program
        fcntl.ioctl(program.input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def update(self, resources: Json) -> None:
        self.updates.append(resources)

    async def pids(self) -> Sequence[int]:
        return [self.pid]

    async def stats(self) -> Json:
        return {
            "cpu": {"usage": {"total": 5, "kernel": 2, "user": 3}},
            "memory": {"usage": {"usage": 7}},
            "pids": {"current": 1},
        }

    async def wait(self) -> Exit:
        return await asyncio.shield(self.program.exit)

    async def destroy(self) -> None:
        self.program.signal(9)
        await self.wait()

    async def delete(self) -> None:
        self.deleted = True
        self.runtime.tasks.pop(self.id, None)


class NoTreeWork:
    """Nothing looks into the trees of these containers."""

    async def ask(self, request: Json, fds: Sequence[int]) -> Json:
        raise Unsupported("this engine cannot look into containers' trees")

    @contextlib.asynccontextmanager
    async def stream(self, request: Json, fds: Sequence[int]) -> AsyncIterator[tuple[Json, AsyncIterator[bytes]]]:
        raise Unsupported("this engine cannot look into containers' trees")
        yield {}, aiter(())  # makes it a generator

    async def pour(self, request: Json, fds: Sequence[int], data: AsyncIterator[bytes]) -> Json:
        raise Unsupported("this engine cannot look into containers' trees")


class NoGroups:
    def missing(self, path: str) -> dict[str, str]:
        return {}

    def remove(self, directory: str) -> None:
        return


async def copy_nothing(
    volume: Path, rootfs: Sequence[Mount], path: str, uids: Sequence[IdRange], gids: Sequence[IdRange]
) -> bool:
    """New volumes stay empty."""
    return False


class FakeRuntime:
    def __init__(self) -> None:
        self.tasks: dict[str, FakeTask] = {}

    async def create(self, bundle: Bundle, streams: Sequence[Stream] = ()) -> FakeTask:
        spec = json.loads((bundle.path / "config.json").read_text())
        program = Program(spec["process"], bundle.terminal, bundle.open_stdin, bundle.log, streams)
        task = self.tasks[bundle.id] = FakeTask(self, bundle, program)
        return task

    async def adopt(self, bundle: Bundle) -> FakeTask | None:
        return self.tasks.get(bundle.id)


def facts() -> HostFacts:
    from corten.plan.security import DEFAULT_CAPABILITIES

    return HostFacts(capabilities=tuple(DEFAULT_CAPABILITIES))


def make_engine(root: Path, table: MemoryTable | None = None, runtime: FakeRuntime | None = None) -> Engine:
    (root / "containers").mkdir(parents=True, exist_ok=True)
    events, changing, rows, namespaces = Events(), Background(), table or MemoryTable(), FakeNamespaces()
    return Engine(
        Parts(
            settings=Settings(root, root / "run"),
            facts=facts(),
            table=rows,
            snapshots=MemorySnapshots(),
            runtime=runtime or FakeRuntime(),
            namespaces=namespaces,
            sandboxes=Sandboxes(namespaces, NoHolders()),
            images=cast(Images, FakeImages()),
            networks=cast(Networks, FakeNetworks()),
            events=events,
            volumes=Volumes(root / "volumes", rows, events),
            changing=changing,
            seccomp=lambda profile, capabilities: None,
            copy_up=copy_nothing,
            tree_work=NoTreeWork(),
            groups=NoGroups(),
        )
    )
