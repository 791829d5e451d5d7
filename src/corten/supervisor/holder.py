"""The process that keeps a sandbox's namespaces while no other process is in them; see `corten.sandbox.sandboxes`.

It outlives the daemon, and is found again by the socket in its directory. A request is one frame: "open" is answered
with the descriptors that `namespaces` makes, "end" with {"ok": true} before the process ends. Its directory is the
daemon's to remove.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError
from corten.kernel import process as p
from corten.supervisor import sockets, wire
from corten.supervisor.namespaces import new, with_user

Json = dict[str, Any]
_PATIENCE = 10.0  # seconds for one request


def hold(request: Json, fds: list[int]) -> None:
    """Answer with the descriptors, then serve until the end. Does not return."""
    p.set_name("corten:sandbox")
    reply = socket.socket(fileno=fds[0])
    try:
        listener = _listen(fds[1])  # before the user namespace is entered: the directory is the host's root's
        made = list(with_user(request["id_map"]) if request.get("id_map") else new([]))
    except (CortenError, OSError) as error:
        wire.send(reply, {"error": encode(error)})
        os._exit(1)
    wire.send(reply, {"ok": True}, made)
    reply.close()
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(_PATIENCE)
            try:
                _serve(connection, made)
            except (OSError, wire.ProtocolError):  # this client disconnected, or sends nothing
                continue


def _listen(directory: int) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"/proc/self/fd/{directory}/{sockets.HOLDER}")
    os.close(directory)
    listener.listen(16)
    return listener


def _serve(connection: socket.socket, made: list[int]) -> None:
    for request, _ in wire.frames(connection):
        match request.get("do"):
            case "open":
                wire.send(connection, {"ok": True}, made)
            case "end":
                wire.send(connection, {"ok": True})
                os._exit(0)
            case other:
                wire.send(connection, {"error": encode(ValueError(f"unknown request {other!r}"))})
