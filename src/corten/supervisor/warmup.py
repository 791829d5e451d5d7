"""Running, in the launcher, what every supervisor is going to run.

The first executions of a function write to it (the interpreter specialises its bytecode, fills caches, makes objects
that are then kept). Done once before anything is forked, those writes are in pages that all supervisors share; done in
each of them, they are a third of a megabyte of memory of its own.
"""

from __future__ import annotations

import os
import socket

from corten.supervisor import wire
from corten.supervisor.connection import Connection
from corten.supervisor.logfile import LogFile
from corten.supervisor.loop import Loop
from corten.supervisor.maker import collect, in_child
from corten.supervisor.output import Output, Stdio

_ROUNDS = 20  # specialisation waits for 16 executions (PEP 659); one process is forked only twice, that is dear


def warm_up() -> None:
    """A container's life without the container. Leaves nothing behind."""
    for _ in range(_ROUNDS):
        _frames()
        _output()
    for _ in range(2):
        in_child(lambda born: ({"pid": 0}, []))
        collect()


def _frames() -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    connection = Connection(loop, ours, lambda *_: None, lambda _: None)
    connection.send({"event": "created", "pid": 1, "timing": {"plan": 0.001}, "warnings": []})
    theirs.send(wire.encode({"id": 1, "do": "start"}))
    loop.step(0)
    theirs.close()
    loop.step(0)
    loop.close()


def _output() -> None:
    loop = Loop()
    stdio = Stdio(terminal=False, stdin=True)
    log = LogFile(os.devnull, 1 << 20, 2)
    output = Output(loop, stdio, log, "/", True, True, lambda: None)
    ours, theirs = socket.socketpair()
    output.attach(ours, {"mux": True, "stdin": True, "early": "", "detach_keys": "", "replay": ""})
    assert stdio.child is not None
    os.write(stdio.child[1], b"a line\n")
    loop.step(0)
    theirs.recv(100)
    stdio.started(-1)
    theirs.close()
    loop.step(0)
    output.drain()
    output.close()
    log.close()
    loop.close()
