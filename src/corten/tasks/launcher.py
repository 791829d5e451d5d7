"""The launcher process, seen from the daemon."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from typing import Any

from corten.errors import Failed, Unavailable
from corten.supervisor import wire
from corten.supervisor.seal import sealed_executable

Json = dict[str, Any]

log = logging.getLogger(__name__)

_BOOT = """\
import sys
sys.path.insert(0, sys.argv[2])
from corten.supervisor.launcher import main
sys.dont_write_bytecode = True  # whatever is loaded from here on may be loaded in a container
main(int(sys.argv[1]))
"""


class Launcher:
    """One launcher, and another when it was killed: it has no state, and what it forked does not need it.

    `start` it before this process has threads, databases and connections: later it is only a second choice.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._socket: socket.socket | None = None
        self.pid = 0

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        package = str(Path(__file__).resolve().parents[2])
        interpreter = os.path.realpath(sys.executable)
        arguments = [interpreter, "-I", "-S", "-c", _BOOT, "3", package]
        executable = sealed_executable()
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.pid = os.posix_spawn(
                f"/proc/self/fd/{executable}",  # closed on exec: the path is resolved before that
                arguments,
                {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                ],
            )
        finally:
            for fd in (executable, log, null):
                os.close(fd)
            theirs.close()
        self._socket = ours

    def send(self, request: Json, fds: list[int]) -> None:
        """One request; the descriptors stay the caller's to close. The launcher reads at once, so this is quick."""
        if self._socket is None:
            raise Unavailable("the launcher has not been started")
        try:
            wire.send(self._socket, request, fds)
        except (BrokenPipeError, ConnectionResetError):  # nobody has read it
            self._start_again()
            wire.send(self._socket, request, fds)

    def _start_again(self) -> None:
        log.warning("the launcher process %d is gone; starting another", self.pid)
        self.close()
        try:
            self.start()
        except OSError as error:
            raise Unavailable(f"the launcher process is gone and cannot be started again: {error}") from error

    def connect(self, request: Json, fds: list[int] | None = None) -> socket.socket:
        """Have somebody forked for `request`, and the connection to them, which does not block."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        try:
            self.send(request, [theirs.fileno(), *(fds or ())])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    async def ask(self, request: Json, fds: list[int]) -> tuple[Json, list[int]]:
        """A request with one answer: the answer and the descriptors that came with it. Failed when there is none."""
        with self.connect(request, fds) as connection:
            return await _answer(connection)

    def close(self) -> None:
        """Let the launcher end. What it forked lives on."""
        if self._socket:
            self._socket.close()
            self._socket = None
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


async def exchange(connection: socket.socket, request: Json, fds: list[int]) -> tuple[Json, list[int]]:
    """A small request to somebody who has nothing else to do, and its answer. OSError or Failed when they are gone."""
    wire.send(connection, request, fds)
    return await _answer(connection)


async def _answer(connection: socket.socket) -> tuple[Json, list[int]]:
    decoder = wire.Decoder()
    while True:
        await readable(connection)
        if not wire.receive(connection, decoder):
            raise Failed("a helper process of the launcher ended without an answer; see launcher.log")
        frame = decoder.next()
        if frame:
            return frame


async def readable(connection: socket.socket) -> None:
    """Wait until `connection` can be read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection.fileno(), wake)
    try:
        await ready
    finally:
        loop.remove_reader(connection.fileno())
