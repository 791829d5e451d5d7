"""A process of this machine with the clients of its streams and its log, as a supervisor has a container's."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import socket
import struct
import termios
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from corten.errors import NotFound, StartFailed
from corten.spec.json import Json
from corten.supervisor import logfile
from corten.tasks.contract import Exit, LogFile, Stream

STDOUT, STDERR = 1, 2


class Client:
    """One attached connection."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sock = socket.socket(fileno=stream.fd)
        self.sock.setblocking(False)
        if stream.replay:
            self.sock.send(stream.replay)

    async def send(self, kind: int, data: bytes) -> None:
        wanted = self.stream.stdout if kind == STDOUT else self.stream.stderr
        if not wanted or self.sock.fileno() < 0:
            return
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, self._framed(kind, data))
        except OSError:
            self.sock.close()

    def _framed(self, kind: int, data: bytes) -> bytes:
        return struct.pack(">BxxxL", kind, len(data)) + data if self.stream.mux else data

    def say(self, text: str) -> None:
        """On its standard output, at once."""
        self.sock.send(self._framed(STDOUT, text.encode()))


class Program:
    """`start` executes it; `exit` is its end. `stdin` keeps its input open for clients, `once` until the first has
    closed it. Each log is the supervisor's own."""

    running: ClassVar[set[Program]] = set()

    def __init__(
        self,
        process: Json,
        streams: Sequence[Stream] = (),
        log: LogFile | None = None,
        *,
        terminal: bool = False,
        stdin: bool = False,
        once: bool = True,
        on_exit: Callable[[Exit], object] = lambda exit: None,
    ) -> None:
        self.spec = process
        self.terminal = terminal
        self.stdin = stdin
        self.once = once
        self.log = _opened(log) if log is not None else None
        self.clients = [Client(stream) for stream in streams]
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.on_exit = on_exit
        self.reason = ""  # of its end, beside the status
        self.pid = 0
        self.input = self.slave = -1
        if terminal:
            self.input, self.slave = pty.openpty()
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        args, env = self.spec["args"], dict(e.split("=", 1) for e in self.spec["env"])
        try:
            self.process = await asyncio.create_subprocess_exec(
                *args, env=env, start_new_session=True, **self._standard_streams()
            )
        except (FileNotFoundError, PermissionError) as error:
            self._not_executed(args[0], 127 if isinstance(error, FileNotFoundError) else 126)
        self.pid = self.process.pid
        self.running.add(self)
        if self.terminal:
            self._close_slave()
            pumps = [self._pump_terminal(self.input)]
        else:
            assert self.process.stdout and self.process.stderr
            pumps = [self._pump(self.process.stdout, STDOUT), self._pump(self.process.stderr, STDERR)]
        for client in self.clients:
            self._spawn(self._feed(client))
        self._spawn(self._reap([asyncio.ensure_future(p) for p in pumps]))

    def _standard_streams(self) -> dict[str, Any]:
        if self.terminal:
            return dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        pipe = asyncio.subprocess.PIPE
        return {"stdin": pipe if self.stdin else asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}

    def _not_executed(self, name: str, code: int) -> None:
        text = "executable file not found in $PATH" if code == 127 else "permission denied"
        if self.log is None:  # an exec says so in its stream
            for client in self.clients:
                client.say(f'OCI runtime exec failed: exec: "{name}": {text}\r\n')
        self.end(Exit(code, time.time()))
        raise StartFailed(f'exec: "{name}": {text}', code) from None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, kind: int) -> None:
        while data := await reader.read(65536):
            await self._output(kind, data)

    async def _pump_terminal(self, master: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.run_in_executor(None, os.read, master, 65536)
            except OSError:
                return
            if not data:
                return
            await self._output(STDOUT, data)

    async def _output(self, kind: int, data: bytes) -> None:
        if self.log is not None:
            self.log.write("stdout" if kind == STDOUT else "stderr", data)
        for client in self.clients:
            await client.send(kind, data)

    async def _reap(self, pumps: list[asyncio.Future[None]]) -> None:
        code = await self.process.wait()
        await asyncio.wait(pumps)
        self.end(Exit(code if code >= 0 else 128 - code, time.time(), error=self.reason))

    def end(self, exit: Exit) -> None:
        """Its streams end, and its log. Its process has ended, or was never started."""
        if self.exit.done():
            return
        self.running.discard(self)
        if self.log is not None:
            self.log.close()
        self.exit.set_result(exit)
        for client in self.clients:
            client.sock.close()
        for task in self.tasks:
            task.cancel()
        if self.terminal:
            self._close_slave()
            os.close(self.input)
        self.on_exit(exit)

    def _close_slave(self) -> None:
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    async def _feed(self, client: Client) -> None:
        """What the client sends goes to the process; its end of file is the process's, unless others may follow."""
        loop = asyncio.get_running_loop()
        if client.stream.stdin and client.stream.early:
            await self._write(client.stream.early)
        while True:
            try:
                data = await loop.sock_recv(client.sock, 65536)
            except OSError:
                return
            if not data:
                break
            if client.stream.stdin:
                await self._write(data)
        if client.stream.stdin and self.once and not self.terminal and self.process.stdin:
            self.process.stdin.close()

    async def _write(self, data: bytes) -> None:
        if self.terminal:
            os.write(self.input, data)
        elif self.process.stdin:
            with contextlib.suppress(ConnectionError):
                self.process.stdin.write(data)
                await self.process.stdin.drain()

    def attach(self, stream: Stream) -> None:
        client = Client(stream)
        self.clients.append(client)
        self._spawn(self._feed(client))

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.input, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """To it and its children. NotFound when it has ended."""
        if self.exit.done() or not self.pid:
            raise NotFound("it has ended")
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError as error:
            raise NotFound("it has ended") from error


async def end_programs() -> None:
    """Kill what this loop still runs, execs and what is being removed among it, and wait for it."""
    loop = asyncio.get_running_loop()
    while program := next((each for each in Program.running if each.exit.get_loop() is loop), None):
        with contextlib.suppress(NotFound):
            program.signal(9)
        await program.exit


def _opened(log: LogFile) -> logfile.LogFile:
    attributes = json.dumps(dict(log.labels)) if log.labels else ""
    return logfile.LogFile(str(log.path) if log.path else "", log.max_size, log.max_file, attributes)
