"""corten vm vnc: a machine's screen by VNC."""

from __future__ import annotations

import os
import select
import socket

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.output import err
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


_PIECE = 1 << 16


def run(session: Session, flags: Flags) -> int:
    name, path = flags.words[0], flags.text("socket") or f"{flags.words[0]}.vnc"
    if not machines.inspect(session.client, name)["Config"]["Display"]:
        raise CommandError(f"machine {name} has no screen: create it with --display")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(1)
        err(f"The screen of {name} is at the unix socket {path}, as in: vncviewer {path}; Ctrl-C ends this.")
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    _pass_on(connection, session, name)
        except KeyboardInterrupt:
            return 0
        finally:
            os.unlink(path)


def _pass_on(viewer: socket.socket, session: Session, name: str) -> None:
    """Until one side has gone."""
    upgraded = machines.attach(session.client, name, "vnc")
    with socket.socket(fileno=upgraded.sock.detach()) as screen:
        viewer.sendall(upgraded.early)
        to = {viewer: screen, screen: viewer}
        while True:
            for source in select.select([*to], [], [])[0]:
                data = source.recv(_PIECE)
                if not data:
                    return
                to[source].sendall(data)


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE",
    "Give a machine's screen to a VNC client",
    (flag("socket", STRING, "Unix socket to listen on (default MACHINE.vnc)"),),
    least=1,
    most=1,
)
