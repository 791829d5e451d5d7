"""The name server, in this process: requests that are wrong, and frames that cannot be read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from corten.spec.resolv_conf import PUBLIC_SERVERS
from corten.supervisor import wire
from corten.supervisor.loop import Loop
from corten.supervisor.names.server import Server
from corten.supervisor.names.upstreams import Asked, HostServers, Upstreams
from corten.supervisor.sockets import NAMES

HOST: dict[str, object] = {"name": "web", "names": ["web"], "addresses": ["127.1.0.1"]}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def server(place: int) -> Iterator[Server]:
    made = Server(place, "/dev/null")
    yield made
    made._lose()
    made._listener.close()
    made._loop.close()


def put(container: str, **host: object) -> dict[str, object]:
    return {"do": "put", "network": "n", "name": "shop", "container": container, "host": {**HOST, **host}}


def everything(**hosts: dict[str, object]) -> dict[str, object]:
    return {"do": "all", "networks": {"n": {"name": "shop", "hosts": hosts}}, "containers": {}}


def test_a_wrong_request_ends_nothing(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    daemon, own = socket.socketpair()
    server.adopt(own)
    wire.send(daemon, put("a"))
    for wrong in (
        {"do": "nonsense"},
        {},
        put("b", addresses=["nowhere"]),
        everything(a=HOST | {"addresses": ["127.1.0.9"]}, b={"name": "b"}),
        {"do": "serve", "container": "c", "servers": [], "open": True},
    ):
        wire.send(daemon, wrong)
    wire.send(daemon, put("d", names=["db"], addresses=["127.1.0.2"]))
    while server._loop.step(0):
        pass
    assert server._directory.addresses("a", "db") == [ip_address("127.1.0.2")]
    assert server._directory.addresses("a", "web") == [ip_address("127.1.0.1")]  # all or nothing
    assert server._daemon is own
    assert capfd.readouterr().err.count("Traceback") == 5
    daemon.close()


def test_a_daemon_that_left_at_once_is_none(server: Server, tmp_path: Path) -> None:
    gone = socket.socket(socket.AF_UNIX)
    gone.connect(str(tmp_path / NAMES))
    gone.close()
    server._loop.step(5)
    assert server._daemon is None and server._loop._stopped  # no container is served


def test_servers_of_a_file_that_cannot_be_read_are_those_before(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    servers = HostServers(str(path))
    assert servers() == ["192.0.2.1"]
    path.unlink()
    path.symlink_to(path)
    assert [servers(), servers()] == [["192.0.2.1"]] * 2
    assert capfd.readouterr().err.count("Traceback") == 1
    path.unlink()
    path.mkdir()
    assert servers() == ["192.0.2.1"]
    path.rmdir()
    assert servers() == PUBLIC_SERVERS
    path.write_text("nameserver 192.0.2.2\n")
    assert servers() == ["192.0.2.2"]


def test_a_question_that_goes_wrong_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    loop, among = Loop(), set[Asked]()
    upstreams = Upstreams(loop, "/dev/null")
    for wrong in (True, False):
        made = Asked(loop, b"", None, [], lambda reply: None, (upstreams._asked, among))  # type: ignore[arg-type]
        for all in (upstreams._asked, among):
            all.add(made)
        monkeypatch.setattr(made, "late", broken if wrong else made.give_up)
    upstreams._look()
    assert not among and not upstreams._asked
    assert "broken" in capfd.readouterr().err
    loop.close()
