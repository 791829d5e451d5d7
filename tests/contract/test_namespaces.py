"""What is expected of network namespaces: the launcher's, and the one of this process that takes their place in tests.

What the tests' cannot do: they make nothing, so that two of them are the same; their route socket is none, so that
nothing of this machine can be changed by it; and no name server listens in them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.kernel import rtnetlink
from corten.kernel.netlink import NETLINK_NETFILTER, Socket
from corten.tasks.contract import IdMap, Namespace, NetworkNamespaces
from corten.tasks.launcher import Launcher
from corten.tasks.namespaces import LauncherNamespaces
from fakes.namespaces import FakeNamespaces

_IDS = IdMap("0 100000 65536\n", "0 200000 65536\n")


@pytest.fixture(params=["launcher", "fake"])
async def namespaces(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NetworkNamespaces]:
    if request.param == "fake":
        yield FakeNamespaces()
        return
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    launcher = Launcher(tmp_path / "launcher.log")
    launcher.start()
    made = LauncherNamespaces(launcher)
    yield made
    await made.close()
    launcher.close()
    assert (tmp_path / "launcher.log").read_text() == ""


def identity(path: Path | str | int) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def descriptors(namespace: Namespace) -> list[int]:
    return [fd for fd in (namespace.fd, namespace.route, namespace.user_fd) if fd >= 0]


async def test_a_namespace_is_held_and_named_by_its_descriptor(namespaces: NetworkNamespaces) -> None:
    made = await namespaces.create()
    assert identity(made.path) == identity(made.fd)
    assert os.readlink(made.path).startswith("net:[")
    assert (made.user, made.user_fd) == (None, -1)
    assert not any(os.get_inheritable(fd) for fd in descriptors(made))
    made.close()
    for fd in (made.fd, made.route):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_its_route_socket_is_inside_and_loopback_is_up(namespaces: NetworkNamespaces) -> None:
    made = await namespaces.create()
    if isinstance(namespaces, FakeNamespaces):
        with pytest.raises(OSError, match="non-socket"):
            Socket(fd=made.route)
    else:
        with Socket(fd=made.route) as route:
            (loopback,) = [link for link in rtnetlink.links(route) if link.name == "lo"]
        assert loopback.up
    made.close()


async def test_with_an_id_map_the_user_namespace_comes_along(namespaces: NetworkNamespaces) -> None:
    made = await namespaces.create(_IDS)
    assert made.user is not None
    assert identity(made.user) == identity(made.user_fd)
    assert os.readlink(made.user).startswith("user:[")
    held = descriptors(made)
    assert len(held) == 3
    made.close()
    for fd in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_one_that_is_there_is_opened(namespaces: NetworkNamespaces) -> None:
    made = await namespaces.create()
    fd = os.dup(made.fd)
    again = await namespaces.open(fd)
    assert again.fd == fd and identity(again.path) == identity(made.fd)
    made.close()
    assert os.readlink(again.path).startswith("net:[")  # its descriptors are its own
    held = descriptors(again)
    again.close()
    for each in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(each)


async def test_a_client_of_a_name_server(namespaces: NetworkNamespaces) -> None:
    made = await namespaces.create()
    with socket.socket(fileno=await namespaces.name_client(made)) as client:
        assert (client.type, client.getpeername()) == (socket.SOCK_DGRAM, ("127.0.0.11", 53))
    made.close()


async def test_name_sockets_are_three_or_none(namespaces: NetworkNamespaces) -> None:
    made = await namespaces.create()
    opened = [socket.socket(fileno=fd) for fd in await namespaces.name_sockets(made)]
    if isinstance(namespaces, FakeNamespaces):
        assert opened == []
    elif opened:  # not where the kernel lacks what a name server needs
        udp, tcp, netfilter = opened
        assert (udp.type, udp.getsockname()[0]) == (socket.SOCK_DGRAM, "127.0.0.11")
        assert (tcp.type, tcp.getsockname()[0]) == (socket.SOCK_STREAM, "127.0.0.11")
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert (netfilter.family, netfilter.proto) == (socket.AF_NETLINK, NETLINK_NETFILTER)
    for sock in opened:
        sock.close()
    made.close()
