"""What the parent and a container's first process say to one another before the program runs.

A SOCK_SEQPACKET pair, one small JSON object a packet, in this order:

    parent                                child
    ------                                -----
    (id maps are written)
    Mapped                      →         only with a new user namespace: the child becomes its root
    Hooked                      →         hooks that belong here have run; its limits may be raised as far as it will
                                ←         Console, with the terminal's master      only with a terminal
                                ←         Ready: everything is done but execve; with its phases' times and warnings,
                                          and which of its descriptors is the null device
    Start                       →
                                ←         end of file: execve has happened (the socket closes on exec)

A process that the runtime did not make, and that becomes the first one (`spawn.become`), gets Start only.

For a further process (exec) the order is Entered, when it is in its control groups; Forked, with the pidfd of the
process that goes on from there; Console; the end of file.

Instead of any of its messages, and of the end of file, the child may send Failed, and is gone then.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any, NamedTuple

from corten.errors import StartFailed

MAPPED = "mapped"
HOOKED = "hooked"
ENTERED = "entered"
CONSOLE = "console"
READY = "ready"
FORKED = "forked"
START = "start"
FAILED = "failed"

_LIMIT = 16384  # a failure's text is cut well below it


class ChildFailed(StartFailed):
    """The child could not do `step`. `exit_code` is 127 or 126 when it was the program's fault, else 125."""

    def __init__(self, step: str, text: str, code: int = 125, errno: int = 0) -> None:
        super().__init__(text if code != 125 else f"{step}: {text}", code)
        self.step = step
        self.errno = errno


class Message(NamedTuple):
    kind: str
    body: dict[str, Any]
    fd: int = -1


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, kind: str, fd: int = -1, **body: Any) -> None:
    packet = json.dumps({"kind": kind, **body}).encode()
    if fd >= 0:
        channel.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", fd))])
    else:
        os.write(channel.fileno(), packet)  # the call that a profile allows first: a failure may be below a filter


def receive(channel: socket.socket) -> Message | None:
    """The next message, None at the end of file. A Failed is raised as ChildFailed."""
    packet, control, _, _ = channel.recvmsg(_LIMIT, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    if not packet:
        return None
    body = json.loads(packet.decode())
    (fd,) = struct.unpack("i", control[0][2]) if control else (-1,)
    kind = body.pop("kind")
    if kind == FAILED:
        raise ChildFailed(body["step"], body["text"], body["code"], body["errno"])
    return Message(kind, body, fd)


def expect(channel: socket.socket, kind: str) -> Message:
    """The next message, which must be of this kind; ChildFailed when the other side is gone."""
    message = receive(channel)
    if message is None or message.kind != kind:
        raise ChildFailed(kind, "the process at the other end is gone" if message is None else f"got {message.kind}")
    return message
