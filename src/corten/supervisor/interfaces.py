"""A tap as a network interface of a container: its network device is moved into the container's namespace.

To be called in a process of its own, which ends afterwards: it changes its network namespace.
Source: include/uapi/linux/if_tun.h (TUNGETDEVNETNS), rtnetlink(7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket

from corten.errors import Conflict, Invalid, NotFound, Unsupported
from corten.kernel import process as p
from corten.kernel import rtnetlink, tap
from corten.kernel.netlink import Socket
from corten.supervisor.procfs import open_process

_TUNGETDEVNETNS = 0x54E3


def attach(pid: int, name: str, device: int) -> None:
    """See `Instance.attach`; `pid` is a process of the container's."""
    inside = _network_of(pid, f"attach interface {name}")
    known_as = tap_name(device)
    where = fcntl.ioctl(device, _TUNGETDEVNETNS)
    p.setns(inside, p.CLONE_NEWNET)
    if name in (known for _, known in socket.if_nameindex()):
        raise Conflict(f"the container has an interface {name}")
    p.setns(where, p.CLONE_NEWNET)
    with Socket() as route:
        route.request(rtnetlink.move(socket.if_nametoindex(known_as), name, inside))
    p.setns(inside, p.CLONE_NEWNET)
    with Socket() as route:
        route.request(rtnetlink.up(socket.if_nametoindex(name)))


def detach(pid: int, name: str) -> None:
    p.setns(_network_of(pid, f"detach interface {name}"), p.CLONE_NEWNET)
    try:
        with Socket() as route:
            route.request(rtnetlink.delete_link(name=name))
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise NotFound(f"the container has no interface {name}") from None
        raise


def _network_of(pid: int, what: str) -> int:
    try:
        process = open_process(pid)
        inside = os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound("the container is not running") from None
    ours, theirs = os.stat("/proc/self/ns/net"), os.fstat(inside)
    if (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino):
        raise Unsupported(f"cannot {what}: the container is in the host's network")
    return inside


def tap_name(device: int) -> str:
    """The name of a tap's network device, where that is now. Invalid when the descriptor is none of a tap."""
    try:
        return tap.name_of(device)
    except OSError as error:
        raise Invalid(f"the descriptor is not a tap's: {error.strerror}") from None
    except ValueError:
        raise Invalid("the descriptor is a tun's, and an interface wants a tap's") from None
