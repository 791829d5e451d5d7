"""Sockets at ports of this host: those that only hold them, and those for the process that forwards."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import NamedTuple

from corten.network.firewall import PROTOCOLS

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_WAITING = 512  # connections that the kernel keeps for the process that forwards


class Key(NamedTuple):
    protocol: str
    ip: IPAddress
    port: int


def has_ipv6() -> bool:
    """This host's loopback has ::1, so programs may expect its ports there."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def hold(key: Key) -> socket.socket | None:
    """A socket bound to the port, so that no other program can. None where the machine has no SCTP: no program can.

    Not SO_REUSEADDR: another program that sets it could then bind as well. That makes connections in TIME_WAIT an
    obstacle, though, which they are not for a server; so in that case try again as a server would, listening.
    """
    family = socket.AF_INET if key.ip.version == 4 else socket.AF_INET6
    kind = socket.SOCK_DGRAM if key.protocol == "udp" else socket.SOCK_STREAM
    try:
        return _bound(family, kind, key, reuse=False)
    except OSError as error:
        if key.protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        if key.protocol != "tcp" or error.errno != errno.EADDRINUSE:
            raise
        return _bound(family, kind, key, reuse=True)


def listening(key: Key) -> socket.socket:
    """A socket for the process that forwards. Connections of its predecessor are no obstacle."""
    kind = socket.SOCK_DGRAM if key.protocol == "udp" else socket.SOCK_STREAM
    made = _bound(socket.AF_INET6, kind, key, reuse=key.protocol == "tcp")
    if key.protocol == "tcp":
        made.listen(_WAITING)
    return made


def _bound(family: int, kind: int, key: Key, reuse: bool) -> socket.socket:
    held = socket.socket(family, kind, PROTOCOLS[key.protocol])
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((str(key.ip), key.port))
        if reuse:
            held.listen(0)
    except BaseException:
        held.close()
        raise
    return held
