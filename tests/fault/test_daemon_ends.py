"""SIGTERM: a daemon ends soon after its shutdown-timeout, whatever is under way. Containers go on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.patience import longer
from fault_parts.fixtures import lacking
from fault_parts.fragile import Fragile, until

SHUTDOWN = 4  # seconds
NEVER = pytest.mark.parametrize("daemon", [1000], indirect=True)  # a wait for that fails in `end`


@pytest.fixture
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fragile]:
    if why := lacking():
        pytest.skip(why)
    daemon = Fragile(tmp_path, "--shutdown-timeout", str(getattr(request, "param", SHUTDOWN)))
    daemon.start()
    yield daemon
    if daemon._process is not None and daemon._process.poll() is not None:
        daemon.start()
    daemon.stop()


def asked(daemon: Fragile, request: str, *fields: str) -> socket.socket:
    """A client that has sent this much, and waits for its answer."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(daemon.socket))
    client.sendall("\r\n".join((f"{request} HTTP/1.1", "Host: d", *fields, "", "")).encode())
    return client


def end(daemon: Fragile, number: signal.Signals = signal.SIGTERM) -> None:
    """It ends well, within a minute: not when its shutdown-timeout has passed, where that is `NEVER`."""
    assert daemon._process is not None
    os.kill(daemon.pid, number)
    assert daemon._process.wait(60) == 0


def test_with_requests_that_take_longer(daemon: Fragile, beside: Fragile) -> None:
    """A stop that would take minutes, a body that does not come, a supervisor that does not answer."""
    id = daemon.run("sh", "-c", "trap 'touch /asked' TERM; echo ready; while :; do sleep 0.1; done")
    until(lambda: daemon.output(id) == "ready\n", "it would hear of a stop")
    other = daemon.run("sleep", "1000")
    supervisor = daemon.supervisor(other)
    json = "Content-Type: application/json"
    with (
        asked(daemon, f"POST /containers/{id}/stop?t=200", "Content-Length: 0"),
        asked(daemon, "POST /containers/create", json, "Content-Length: 100"),
        asked(daemon, "POST /images/load", "Content-Length: 100000"),
    ):
        until(lambda: daemon.inside(id, "test", "-e", "/asked")[0] == 0, "the stop is under way")
        os.kill(supervisor, signal.SIGSTOP)
        try:
            with asked(daemon, f"POST /containers/{other}/pause", "Content-Length: 0"):
                assert daemon.get("/_ping") == "OK"  # whose request came later
                took, _ = longer(lambda: end(daemon), lambda: beside.outcome("true"))
                assert took < 2 * SHUTDOWN + 2
        finally:
            os.kill(supervisor, signal.SIGCONT)
    daemon.start()
    assert daemon.state(id)["Running"] and daemon.state(other)["Running"]


@NEVER
def test_with_nothing_to_do(daemon: Fragile) -> None:
    with asked(daemon, "GET /events"), asked(daemon, "POST /con"):
        end(daemon)


@NEVER
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_with_open_streams(daemon: Fragile, number: signal.Signals) -> None:
    """events, logs -f, stats, wait, attach: none of them keeps the daemon; containers go on."""
    id = daemon.run("sh", "-c", "while :; do echo x; usleep 10000; done", OpenStdin=True)
    streams = [daemon.connection() for _ in range(4)]
    paths = ("/events", f"/containers/{id}/logs?follow=1&stdout=1", f"/containers/{id}/stats")
    for connection, path in zip(streams, paths):
        connection.request("GET", path)
    streams[3].request("POST", f"/containers/{id}/wait")
    attached = daemon.attach(id)
    assert attached.recv(100)
    pid = daemon.state(id)["Pid"]
    end(daemon, number)
    assert "Traceback" not in daemon.log.read_text()
    assert not daemon.socket.exists()
    assert attached.recv(100), "an attached client is the supervisor's"
    for connection in streams:
        connection.close()
    attached.close()
    daemon.start()
    assert daemon.state(id)["Pid"] == pid
