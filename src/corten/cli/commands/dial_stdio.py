"""corten system dial-stdio: what a client on another machine speaks to through ssh."""

from __future__ import annotations

import os
import threading

from corten.cli.command import Command
from corten.cli.output import STDOUT, write_all
from corten.client import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from corten.cli.flags import Flags
    from corten.cli.session import Session

_PIECE = 1 << 16
_SHUT_WR = 1


def run(session: Session, flags: Flags) -> int:
    """Until the engine closes its side; the end of our input is passed on to it first."""
    sock = address.connect(session.client.address)
    threading.Thread(target=_send, args=(sock,), daemon=True).start()
    while data := sock.recv(_PIECE):
        write_all(STDOUT, data)
    return 0


def _send(sock: _socket.socket) -> None:
    try:
        while data := os.read(0, _PIECE):
            sock.sendall(data)
        sock.shutdown(_SHUT_WR)
    except OSError:
        return  # the engine has closed its side: the other direction ends us


COMMAND = Command(run, "", "Pass standard input and output on to the engine, for clients that come through ssh", most=0)
