"""Network namespaces, and user namespaces that own them, made before there is a container.

They are held by descriptors and pinned nowhere: what holds a namespace open ends with its process, so there is nothing
to unmount after a crash. Together with a namespace comes a rtnetlink socket that was opened inside it: through it the
daemon configures addresses and routes without ever entering.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError
from corten.kernel import process as p
from corten.runtime.spawn import write_id_map
from corten.supervisor import wire

Json = dict[str, Any]

_NAME_SERVER = "127.0.0.11"
_NETLINK_NETFILTER = 12
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFF_RUNNING = 0x40


def serve_namespaces(request: Json, fds: list[int]) -> None:
    """Answer each request on the connection with descriptors, until its end; see `_DO`. Does not return.

    One process for all: forking one for each costs more than the namespace.
    """
    p.set_name("corten:netns", "network namespaces")
    daemon = socket.socket(fileno=fds[0])
    host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    for request, given in wire.frames(daemon):
        _answer(daemon, _DO[request["do"]](given))
        p.setns(host, p.CLONE_NEWNET)  # nothing in here keeps a namespace alive
        for fd in given:
            os.close(fd)
    os._exit(0)


def make_namespaces(request: Json, fds: list[int]) -> None:
    """Answer once, with a user namespace behind the others: `id_map` is {"uids": TEXT, "gids": TEXT} as uid_map wants
    it; the network namespace is that user namespace's, so that the container's root may configure it. Does not return.
    """
    _answer(socket.socket(fileno=fds[0]), with_user(request["id_map"]))
    os._exit(0)


def _answer(reply: socket.socket, work: Iterator[int]) -> None:
    """Send what `work` makes, or why it could not. The descriptors are closed here."""
    made: list[int] = []
    try:
        made.extend(work)
        wire.send(reply, {"ok": True}, made)
    except (CortenError, OSError) as error:
        wire.send(reply, {"error": encode(error)})
    finally:
        for fd in made:
            os.close(fd)


def new(_: list[int]) -> Iterator[int]:
    """A network namespace, and a rtnetlink socket in it."""
    p.unshare(p.CLONE_NEWNET)
    _refuse_advertisements()
    _loopback_up()
    yield _open_self("net")
    yield _route_socket()


def with_user(id_map: Json) -> Iterator[int]:
    """The same with a user namespace that owns it."""
    user = _enter_new_userns(id_map)
    yield from new([])
    yield user


def _route(given: list[int]) -> Iterator[int]:
    """A rtnetlink socket in a namespace that is there already."""
    p.setns(given[0], p.CLONE_NEWNET)
    yield _route_socket()


def _names(given: list[int]) -> Iterator[int]:
    """What a name server in it needs: UDP, and TCP listening, at 127.0.0.11 and any port; NETLINK_NETFILTER."""
    p.setns(given[0], p.CLONE_NEWNET)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    udp.bind((_NAME_SERVER, 0))
    yield udp.detach()
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    tcp.bind((_NAME_SERVER, 0))
    tcp.listen(128)
    yield tcp.detach()
    netfilter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    netfilter.bind((0, 0))
    yield netfilter.detach()


def _name_client(given: list[int]) -> Iterator[int]:
    """UDP, for questions to the name server in a namespace."""
    p.setns(given[0], p.CLONE_NEWNET)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    udp.connect((_NAME_SERVER, 53))
    yield udp.detach()


def _dial(given: list[int]) -> Iterator[int]:
    """Sockets for a connection to what listens in it: IPv4, and IPv6 where the kernel has that."""
    p.setns(given[0], p.CLONE_NEWNET)
    yield socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC).detach()
    try:
        yield socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC).detach()
    except OSError:
        return


_DO: dict[str, Callable[[list[int]], Iterator[int]]] = {
    "new": new,
    "route": _route,
    "names": _names,
    "name client": _name_client,
    "dial": _dial,
}


def _enter_new_userns(id_map: Json) -> int:
    """Be root of a new user namespace. The map must be written from outside it: by a child forked before."""
    ready, go = socket.socketpair()
    us = os.getpid()
    if os.fork() == 0:
        go.close()
        ready.recv(1)
        try:
            write_id_map(us, id_map["uids"], id_map["gids"])
        except OSError as error:
            ready.send(struct.pack("i", error.errno or 1))
        else:
            ready.send(struct.pack("i", 0))
        os._exit(0)
    ready.close()
    p.unshare(p.CLONE_NEWUSER)
    go.send(b".")
    (errno,) = struct.unpack("i", go.recv(4))
    if errno:
        raise OSError(errno, f"{os.strerror(errno)} in writing the id maps")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return _open_self("user")


def _open_self(kind: str) -> int:
    return os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def _route_socket() -> int:
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    route.bind((0, 0))
    return route.detach()


def _refuse_advertisements() -> None:
    """Devices that come later take no route from a neighbour's router advertisement (CVE-2020-13401)."""
    for name in ("all", "default"):
        try:
            fd = os.open(f"/proc/sys/net/ipv6/conf/{name}/accept_ra", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a kernel without IPv6
            return
        os.write(fd, b"0")
        os.close(fd)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP | _IFF_RUNNING))
