"""A program of ours that outlives the daemon, by its pidfd (pidfd_open(2)): executed by the launcher, or found at the
unix socket where it listens.

    program = await execute(launcher, ["/usr/bin/x"], {"PATH": "/usr/bin"}, log=2)
    program = await listening(Path("/run/x.sock"))       # None: nothing listens there
    await program.ended()                                # returns when it has; `terminate` asks for that
    program.close()
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from corten.errors import Failed
from corten.supervisor import wire
from corten.tasks.answers import HELPER, answer, content, readable
from corten.tasks.launcher import Launcher

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class Program:
    """`pid` is this host's. Who gets one closes it."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    async def ended(self) -> None:
        await readable(self._pidfd)

    def terminate(self) -> None:
        """SIGTERM. Idempotent."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def close(self) -> None:
        os.close(self._pidfd)


async def execute(launcher: Launcher, arguments: Sequence[str], environment: Mapping[str, str], log: int) -> Program:
    """The first of `arguments` is its path, `log` the descriptor of its output, which stays the caller's. One that
    cannot be executed is one that has ended. Raises Failed, Unavailable."""
    request = {"do": "execute", "arguments": list(arguments), "environment": dict(environment)}
    with launcher.connect(request, [log]) as connection:
        message, fds = await answer(connection, wire.Decoder(), HELPER)
    pid = content(message)
    if len(fds) != 1:
        for fd in fds:
            os.close(fd)
        raise Failed("a helper process answers without its descriptor")
    return Program(int(pid), fds[0])


async def listening(path: Path) -> Program | None:
    """Who has bound the socket at `path`. None when nothing listens there, or what does is no process to be seen."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except OSError:
            return None
        pid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        try:
            return Program(pid, os.pidfd_open(pid)) if pid > 0 else None
        except ProcessLookupError:
            return None
