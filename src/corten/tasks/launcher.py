"""The launcher process, seen from the daemon."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
from pathlib import Path

from corten.errors import Unavailable
from corten.spec.json import Json
from corten.supervisor import wire
from corten.supervisor.seal import sealed_executable
from corten.tasks.answers import Answer, answer
from corten.tasks.outgoing import Outgoing

MAX_LOG = 1 << 20  # bytes of launcher.log
_LOOK = 64  # requests after which it is looked at
_LAST_PATIENCE = 1000  # milliseconds

log = logging.getLogger(__name__)

_BOOT = """\
import sys
sys.path.insert(0, sys.argv[2])
import corten.supervisor.requests  # first: names of fields, of which there is one object each, lie together so
from corten.supervisor.launcher import main
sys.dont_write_bytecode = True  # whatever is loaded from here on may be loaded in a container
main(int(sys.argv[1]))
"""


class Asked:
    """A process that forks others: for each request one, which answers on a socket of the request's own."""

    def send(self, request: Json, fds: list[int]) -> None:
        """One request; the descriptors stay the caller's to close. One that cannot be sent ends without an answer."""
        raise NotImplementedError

    def connect(self, request: Json, fds: list[int] | None = None) -> socket.socket:
        """Have a process forked for `request`; returns the connection to it, which does not block."""
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

    async def ask(self, request: Json, fds: list[int], seconds: float | None) -> Answer:
        """A request with one answer, for which there are so many seconds. Failed, Unavailable when there is none."""
        with self.connect(request, fds) as connection:
            return await answer(connection, wire.Decoder(), seconds)


class Launcher(Asked):
    """One launcher, and another when it was killed: it has no state, and what it forked does not need it.

    `for_builds` is asked for helpers of builds, `for_pods` for what pods stand on and are connected by.

    `start` it before this process has threads, databases and connections: later it is only a second choice.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._out: Outgoing | None = None
        self.pid = 0
        self._sent = 0
        self.for_builds = Second(self, "builds")
        self.for_pods = Second(self, "pods")

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        package = str(Path(__file__).resolve().parents[2])
        interpreter = os.path.realpath(sys.executable)
        arguments = [interpreter, "-I", "-S", "-c", _BOOT, "3", package]
        executable = sealed_executable()
        if self._log.exists():
            _shorten(self._log)
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
        self._out = Outgoing(ours, late=self._late)

    def _late(self) -> None:
        log.warning("the launcher process %d does not read what it is asked", self.pid)

    def send(self, request: Json, fds: list[int]) -> None:
        """One request; the descriptors stay the caller's to close. One that cannot be sent ends without an answer."""
        self._sent += 1
        if self._sent % _LOOK == 0:
            _shorten(self._log)
        if self._out is None:
            raise Unavailable("the launcher has not been started")
        try:
            self._out.send(request, fds)
        except (BrokenPipeError, ConnectionResetError):  # it has ended, and has not read it
            self._start_again()
            self._out.send(request, fds)

    def _start_again(self) -> None:
        log.warning("the launcher process %d is gone; starting another", self.pid)
        self.close()
        try:
            self.start()
        except OSError as error:
            raise Unavailable(f"the launcher process is gone and cannot be started again: {error}") from error

    def close(self) -> None:
        """End the launcher and the second ones. What they forked lives on."""
        self.for_builds.close()
        self.for_pods.close()
        if self._out:
            self._out.close()
            self._out.socket.close()
            self._out = None
        if self.pid:
            _end(self.pid)
            self.pid = 0


class Second(Asked):
    """Another one, which the first forks with the first request, and again when it is gone (`supervisor.building`,
    `supervisor.of_pods`)."""

    def __init__(self, launcher: Launcher, what: str) -> None:
        self._launcher = launcher
        self._what = what
        self._out: Outgoing | None = None

    def send(self, request: Json, fds: list[int]) -> None:
        if self._out is None:
            self._out = self._forked()
        try:
            self._out.send(request, fds)
        except (BrokenPipeError, ConnectionResetError):  # it has ended, and has not read it
            self.close()
            self._out = self._forked()
            self._out.send(request, fds)

    def _forked(self) -> Outgoing:
        return Outgoing(self._launcher.connect({"do": f"fork for {self._what}"}), late=self._late)

    def _late(self) -> None:
        log.warning("the launcher process for %s does not read what it is asked", self._what)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out.socket.close()
            self._out = None


def _shorten(path: Path) -> None:
    """Keep the last half of a log that has become too long. Processes that append to it may run for months."""
    if path.stat().st_size <= MAX_LOG:
        return
    with open(path, "r+b", opener=os.open) as file:
        file.seek(-MAX_LOG // 2, os.SEEK_END)
        kept = file.read().partition(b"\n")[2]
        file.seek(0)
        file.truncate()
        file.write(kept)


def _end(pid: int) -> None:
    """Wait for the end of a child that has nothing more to do; one that does not come to it is killed."""
    ending = select.poll()
    pidfd = os.pidfd_open(pid)
    try:
        ending.register(pidfd, select.POLLIN)
        if not ending.poll(_LAST_PATIENCE):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    os.waitpid(pid, 0)
