"""A daemon that is gone before what it has sent is done."""

from __future__ import annotations

import socket
from typing import Any

from corten.supervisor import wire
from corten.supervisor.connection import Connection
from corten.supervisor.loop import Loop
from corten.supervisor.waits import Waits


def test_a_client_that_is_handed_over_behind_a_request_is_answered() -> None:
    """The answer to the request shows that the daemon is gone; the client's connection has come in the same read."""
    loop, waits = Loop(), Waits()
    ours, daemon = socket.socketpair()
    done: list[str] = []

    def received(connection: Connection, message: dict[str, Any], fds: list[int]) -> None:
        if fds:
            waits.hold("key", fds[0], connection)
        done.append(message["do"])
        connection.send({"id": message["id"], "ok": {}})

    connection = Connection(loop, ours, received, waits.lost)
    client, copy = socket.socketpair()
    wire.send(daemon, {"id": 1, "do": "stats"})
    wire.send(daemon, {"id": 2, "do": "hold"}, [copy.fileno()])
    copy.close()
    daemon.close()
    loop.step(1.0)
    assert done == ["stats", "hold"] and not connection.alive
    waits.end(3)
    assert b'{"StatusCode":3}' in client.recv(100)
    client.close()
    loop.close()


def test_descriptors_of_half_a_request_are_closed() -> None:
    loop = Loop()
    ours, daemon = socket.socketpair()
    lost: list[Connection] = []
    connection = Connection(loop, ours, lambda *_: None, lost.append)
    client, copy = socket.socketpair()
    client.settimeout(10)
    half = wire.frame({"id": 1, "do": "attach"}, [copy.fileno()])[:-1]
    wire.send_some(daemon, half, [copy.fileno()])
    copy.close()
    loop.step(1.0)
    daemon.close()
    loop.step(1.0)
    assert lost == [connection] and client.recv(1) == b""
    client.close()
    loop.close()
