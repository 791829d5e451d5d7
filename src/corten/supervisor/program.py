"""A process that is nothing of ours any more: it executes a program, which outlives the daemon."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from corten.error_codec import encode
from corten.supervisor import wire

Json = dict[str, Any]
_UMASK = 0o077


def execute(request: Json, fds: list[int]) -> None:
    """Answer with a pidfd (pidfd_open(2)), then be `arguments`, whose first is the path, in `environment`.

    Descriptors: the answer's socket, and what is to be standard output and error. Does not return.
    """
    reply = socket.socket(fileno=fds[0])
    try:
        wire.send(reply, {"ok": os.getpid()}, [os.pidfd_open(os.getpid())])
    except OSError as error:
        wire.send(reply, {"error": encode(error)})
        os._exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(fds[1], 1)
    os.dup2(fds[1], 2)
    os.umask(_UMASK)
    for number in (signal.SIGINT, signal.SIGPIPE):  # what is ignored stays so by execve
        signal.signal(number, signal.SIG_DFL)
    os.execve(request["arguments"][0], request["arguments"], request["environment"])
