"""One port of the host over the healthy containers of a service: real connections, by the kernel and the forwarder."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.network.port_sockets import has_ipv6
from e2e.test_compose_own import SHARED, Compose
from e2e_parts.clients import Client
from e2e_parts.patience import PATIENCE, until
from free_ports import free_port

HOSTS = ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",)
PROJECT = (
    SHARED
    + """
services:
  web:
    <<: *each
    command: [sh, -c, "touch /ready; exec nc -ll -p 80 -e sh -c 'hostname; exec cat'"]
    healthcheck:
      test: "test -e /ready && netstat -ltn | grep -q :80"
      interval: 100ms
      timeout: 60s
      retries: 1
      start_period: 100s
    ports: ["PORT:80"]
    deploy: {replicas: 3, endpoint_mode: vip}
"""
)


class Line:
    """A connection: the first line is the container's id, then what is sent comes back."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), PATIENCE)
        self._file = self._socket.makefile("rb")
        self.container = self._file.readline().decode().strip()

    def echoes(self) -> bool:
        self._socket.sendall(b"again\n")
        return self._file.readline() == b"again\n"

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def reached(port: int, times: int = 40) -> set[str]:
    """Containers that new connections get to, by each of the host's addresses."""
    found = set()
    for number in range(times):
        line = Line(HOSTS[number % len(HOSTS)], port)
        found.add(line.container)
        line.close()
    return found


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def web(corten: Client, tmp_path: Path, port: int) -> Iterator[Compose]:
    compose = Compose(corten, tmp_path)
    compose.write(PROJECT.replace("PORT", str(port)))
    done = compose("up", "-d", "--wait")
    assert "endpoint_mode" not in done.err
    yield compose
    compose("down", "-t", "0")
    with socket.create_server(("127.0.0.1", port)):  # the last one has given it back
        pass


def health(compose: Compose, id: str) -> str:
    return compose.corten.out("inspect", "-f", "{{.State.Health.Status}}", id).strip()


def test_who_is_not_healthy_is_left_out(web: Compose, port: int) -> None:
    ids = {id[:12] for id in web.ids().values()}
    held: dict[str, Line] = {}
    deadline = time.monotonic() + PATIENCE
    while held.keys() != ids:
        assert time.monotonic() < deadline, (held.keys(), ids)
        line = Line(HOSTS[len(held) % len(HOSTS)], port)
        if held.setdefault(line.container, line) is not line:
            line.close()
    try:
        sick, gone, left = sorted(ids)
        web.corten("exec", sick, "rm", "/ready")
        until(lambda: health(web, sick) == "unhealthy")
        assert reached(port) == {gone, left}
        assert all(line.echoes() for line in held.values())  # its own as well: they are only not given more

        web.corten("rm", "-f", gone)
        assert reached(port) == {left}
        assert held[left].echoes() and held[sick].echoes()

        web.corten("pause", left)
        with pytest.raises(ConnectionRefusedError):
            Line("127.0.0.1", port)
        web.corten("unpause", left)
        assert reached(port, 4) == {left}

        web.corten("exec", sick, "touch", "/ready")
        until(lambda: health(web, sick) == "healthy")
        until(lambda: reached(port) == {sick, left})  # (as good as certain at once)
        assert held[left].echoes() and held[sick].echoes()
    finally:
        for line in held.values():
            line.close()


def test_scale_and_rollout(web: Compose, port: int) -> None:
    web("up", "-d", "--wait", "--scale", "web=1")
    (one,) = {id[:12] for id in web.ids().values()}
    assert reached(port, 6) == {one}
    web.write(
        PROJECT.replace("PORT", str(port)).replace("replicas: 3", "replicas: 2").replace("touch /ready", ": >/ready")
    )
    web("up", "-d", "--wait")
    before = web.ids()
    two = PROJECT.replace("PORT", str(port)).replace("replicas: 3", "replicas: 2")
    web.write(two)
    web("up", "-d", "--wait")
    before = web.ids()
    web.write(two.replace("sh, -c", "sh, -ec"))
    web("up", "-d", "--rollout")
    after = {id[:12] for id in web.ids().values()}
    assert not {id[:12] for id in before.values()} & after
    until(lambda: reached(port) == after)


def test_a_port_of_another_group(web: Compose, port: int) -> None:
    made = web.corten("run", "-d", "--rm", "-p", f"127.0.0.1:{port}:80", "corten/busybox", "sleep", "1000", code=125)
    assert "port is already allocated" in made.err
