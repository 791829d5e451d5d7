"""Network namespaces, and user namespaces that own them, made before there is a container.

They are held by descriptors and pinned nowhere: what holds a namespace open dies with its process, so there is nothing
to unmount after a crash. Together with a namespace comes a rtnetlink socket that was opened inside it: through it the
daemon configures addresses and routes without ever entering. On request three sockets more, for a name server.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Any

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
    """Answer each request on the connection with [network namespace, rtnetlink socket, *name sockets], until its end.

    One process for all: forking one for each costs more than the namespace. The name sockets are there when a request
    says `names`. Does not return.
    """
    p.set_name("corten:netns")
    daemon = socket.socket(fileno=fds[0])
    host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    decoder = wire.Decoder()
    while wire.receive(daemon, decoder):
        while frame := decoder.next():
            _answer(daemon, frame[0], [])
            p.setns(host, p.CLONE_NEWNET)  # nothing in here keeps a namespace alive
    os._exit(0)


def make_namespaces(request: Json, fds: list[int]) -> None:
    """Answer once, with a user namespace behind the others: `id_map` is {"uids": TEXT, "gids": TEXT} as uid_map wants
    it; the network namespace is that user namespace's, so that the container's root may configure it. Does not return.
    """
    reply = socket.socket(fileno=fds[0])
    try:
        own = [_enter_new_userns(request["id_map"])]
    except OSError as error:
        wire.send(reply, {"error": {"text": str(error.strerror), "errno": error.errno or 0}})
    else:
        _answer(reply, request, own)
    os._exit(0)


def _answer(reply: socket.socket, request: Json, own: list[int]) -> None:
    """Enter a new network namespace and send what belongs to it, `own` behind it. The descriptors are closed here."""
    made: list[int] = []
    try:
        p.unshare(p.CLONE_NEWNET)
        _refuse_advertisements()
        _loopback_up()
        made += [_open_self("net"), _route_socket()]
        made += _name_sockets(request)
        wire.send(reply, {"ok": True}, [*made, *own])
    except OSError as error:
        wire.send(reply, {"error": {"text": str(error.strerror), "errno": error.errno or 0}})
    finally:
        for fd in made:
            os.close(fd)


def open_namespaces(request: Json, fds: list[int]) -> None:
    """The same for the network namespace at descriptor fds[1], which is there already."""
    reply = socket.socket(fileno=fds[0])
    try:
        p.setns(fds[1], p.CLONE_NEWNET)
        wire.send(reply, {"ok": True}, [fds[1], _route_socket(), *_name_sockets(request)])
    except OSError as error:
        wire.send(reply, {"error": {"text": str(error.strerror), "errno": error.errno or 0}})
    os._exit(0)


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


def _name_sockets(request: Json) -> list[int]:
    """What a name server inside needs: UDP, and TCP listening, at 127.0.0.11 and any port; NETLINK_NETFILTER."""
    if not request.get("names"):
        return []
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    udp.bind((_NAME_SERVER, 0))
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    tcp.bind((_NAME_SERVER, 0))
    tcp.listen(128)
    netfilter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    netfilter.bind((0, 0))
    return [udp.detach(), tcp.detach(), netfilter.detach()]


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
