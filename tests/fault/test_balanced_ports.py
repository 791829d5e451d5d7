"""A port that containers share goes on without the daemon, and the next one goes on with it."""

from __future__ import annotations

import socket

from fault_parts.fragile import Fragile, until
from free_ports import free_port

SERVE = "touch /ready; exec nc -ll -p 80 -e sh -c 'hostname; exec cat'"
CHECK = {
    "Test": ["CMD-SHELL", "test -e /ready && netstat -ltn | grep -q :80"],
    "Interval": 100_000_000,
    "Retries": 1,
}


def reached(port: int) -> set[str]:
    found = set()
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", port), 60) as line, line.makefile("rb") as lines:
            found.add(lines.readline().decode().strip())
    return found


def is_becoming(daemon: Fragile, id: str, health: str) -> None:
    until(lambda: daemon.state(id)["Health"]["Status"] == health, f"it is {health}", 60)


def test_who_shares_a_port_outlives_the_daemon(daemon: Fragile) -> None:
    port = free_port()
    shared = {"Group": "web", "Port": "80/tcp", "HostIp": "127.0.0.1", "HostPort": str(port)}
    ids = [daemon.run("sh", "-c", SERVE, host={"BalancedPorts": [shared]}, Healthcheck=CHECK) for _ in range(2)]
    for id in ids:
        is_becoming(daemon, id, "healthy")
    both = {id[:12] for id in ids}
    assert reached(port) == both
    daemon.kill()
    assert reached(port) == both
    daemon.start()
    assert reached(port) == both
    assert daemon.inside(ids[0], "rm", "/ready") == (0, "")
    is_becoming(daemon, ids[0], "unhealthy")
    assert reached(port) == {ids[1][:12]}

    host = {"BalancedPorts": [{**shared, "Group": "other"}]}
    status, answer = daemon.ask(
        "POST", "/containers/create", {"Image": "corten/busybox", "Cmd": ["true"], "HostConfig": host}
    )
    assert status == 201
    status, refused = daemon.ask("POST", f"/containers/{answer['Id']}/start")
    assert status == 409 and f"port {port} is balanced for web, and not for other" in refused["message"]
