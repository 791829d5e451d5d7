"""corten vm migrate: move a running machine to another engine, with its disks.

This program carries everything from one engine to the other, so a way to each of them is all that is needed.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from corten.cli import jobs
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import err, out
from corten.client import machines
from corten.client.errors import ApiError, Broken, Unreachable
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Client, Upgraded

_PIECE = 1 << 18


def run(session: Session, flags: Flags) -> int:
    name, host = flags.words
    other = session.other(host)
    source, target = session.client, other.client
    try:
        description = machines.migration(source, name)
        files = flags.text("kernel"), flags.text("initrd")
        new = machines.incoming(target, flags.text("name"), description, *files)
        try:
            with jobs.shown(source, name):
                done = _moved(source, target, name, new, description)
        except BaseException:
            _undone(source, target, name, new)
            raise
        if flags.on("keep"):
            machines.act(source, name, "kill")
        else:
            machines.remove(source, name, force=True, disks=True)
    finally:
        other.close()
    err(f"{name} stood still for {done['Downtime']} ms")
    out(flags.text("name") or str(description["name"]))
    return 0


def _moved(source: Client, target: Client, name: str, new: str, description: dict[str, object]) -> dict[str, int]:
    disks = description["disks"]
    assert isinstance(disks, list)
    for disk in disks:
        if disk.get("volume"):
            way = f"disks/{named('disk', str(disk['serial']))}"  # the other engine is not asked what this one likes
            _joined(machines.stream(source, name, f"migration/{way}"), machines.stream(target, new, f"incoming/{way}"))
    _joined(machines.stream(source, name, "migration"), machines.stream(target, new, "incoming"))
    done = machines.finish(source, name, "migration")
    begun = time.monotonic()
    there = machines.finish(target, new, "incoming")
    between = round((time.monotonic() - begun) * 1000)
    return {"Downtime": int(done["Downtime"]) + max(between - int(there.get("Ago", 0)), 0)}


def _undone(source: Client, target: Client, name: str, new: str) -> None:
    """It goes on where it was, and nothing is left on the other side."""
    with suppress(ApiError, Broken, Unreachable):
        machines.remove(target, new, force=True, disks=True)
    try:
        machines.cancel_migration(source, name)
    except (ApiError, Broken, Unreachable) as error:
        raise CommandError(f"machine {name} may stand still: corten vm unpause {name}: {error}") from None


def _joined(one: Upgraded, other: Upgraded) -> None:
    """Pass on in both directions, until both have ended."""
    first, second = socket.socket(fileno=one.sock.detach()), socket.socket(fileno=other.sock.detach())
    for source, target, early in ((first, second, one.early), (second, first, other.early)):
        source.setblocking(True)
        threading.Thread(target=_pass, args=(source, target, early), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, early: bytes) -> None:
    with suppress(OSError):
        target.sendall(early)
        while data := source.recv(_PIECE):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE HOST",
    "Move a running machine to another engine (unix://, tcp://, ssh://)",
    (
        flag("initrd", STRING, "Initial file system of a machine that boots a kernel, on the other host"),
        flag("keep", BOOL, "Leave it here as well, switched off"),
        flag("kernel", STRING, "Kernel of a machine that boots one, on the other host"),
        flag("name", STRING, "What it is called there"),
    ),
    least=2,
    most=2,
)
