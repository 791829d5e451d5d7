"""A machine that runs moves to another daemon, with its disks, and notices only a pause.

A client carries it, which talks to both daemons: it opens a connection for each disk and one for the state, here and
there, and passes on what comes. So the daemons need not reach or trust each other, and every way to a daemon (a unix
socket, TLS, ssh) is a way for machines.

    source                                    the client                     target
    description ─────────────────────────────────▶ receive: a record, empty disks, QEMU that waits
    send_disk: mirrored by NBD ◀──────────────────────────────▶ receive_disk: QEMU's NBD server
    send_state: when all disks are equal ────────────────────▶ receive_state
      stands still: mirrors are ended, the rest of the state is sent
    finished                                                     finish: it goes on
    (removed by the client)

Until `finish` has answered, the source can go on (`cancel`), and what fails leaves it as it was. A target to which
nothing comes any more goes away by itself.

`migration_source` is what the daemon does that sends, `migration_target` what the one does that receives.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from corten.machines.records import Begun, Disk
from corten.spec.docker.machine import MachineCreate
from corten.spec.docker.networking import EndpointSettings
from corten.spec.json import Json
from corten.tasks.machine_tasks import MachineTask

VERSION = 1
GO = 120.0  # seconds from the whole state to the word that it goes on
MOST = 24 * 3600.0  # seconds until all of it has come


class Moved(msgspec.Struct, omit_defaults=True):
    """What travels beside disks and memory. `sizes` of disks by their serials, `cd` of cloud-init in base64; `booted`:
    digests of what a machine from an image boots, by the files' names."""

    version: int
    name: str
    uuid: str
    config: MachineCreate
    disks: list[Disk]
    sizes: dict[str, int]
    networks: dict[str, EndpointSettings]
    begun: Begun
    macs: dict[str, str] = {}
    addresses: dict[str, list[str]] = {}
    cd: str = ""
    booted: dict[str, str] = {}


@dataclass(slots=True)
class Incoming:
    """A target while it is one."""

    ready: asyncio.Future[None]
    state: asyncio.Future[tuple[int, bytes]]
    go: asyncio.Future[None]
    start: asyncio.Task[None] | None = None
    taken: bool = False  # what `state` has is closed by who has taken it
    came: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def end(self) -> None:
        """It waits for nothing any more: a connection that came while it was given up is closed."""
        if not self.state.cancel() and not self.taken:
            os.close(self.state.result()[0])

    def comes(self) -> None:
        """Something has come of it just now."""
        self.came = asyncio.get_running_loop().time()


@dataclass(slots=True)
class Outgoing:
    """A source while it is one: the places of disks that are mirrored, their connections, whether one could not be,
    whether it is over, what sends the state, and whether a client has asked for the end of that."""

    places: list[int] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)
    failed: bool = False
    ended: bool = False
    sending: asyncio.Task[Json] | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sends(self) -> bool:
        """Its state is on its way, or was sent."""
        sending = self.sending
        return sending is not None and not (sending.done() and (sending.cancelled() or sending.exception()))

    def close(self) -> None:
        """Cut all connections of disks: QEMU waits for no other end of one that says nothing."""
        self.ended = True
        while self.connections:
            with self.connections.pop() as connection:
                cut(connection)


def cut(connection: socket.socket) -> None:
    with suppress(OSError):  # the other end has gone
        connection.shutdown(socket.SHUT_RDWR)


def since(task: MachineTask, event: str) -> int | None:
    """Milliseconds since QEMU has said that; None when it has not."""
    return max(round((time.time() - task.last[event]) * 1000), 0) if event in task.last else None
