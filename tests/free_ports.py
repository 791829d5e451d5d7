"""Ports of this host for tests that name one: below those that the kernel and daemons choose from.

A port of that range, found free, is soon another program's: every daemon begins at the first one when it publishes any
port, and what a daemon published that was killed is held by no socket until it runs again.
"""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import ExitStack

_FIRST, _LAST = 10000, 32767
_given: set[int] = set()  # the same one twice would be in TIME_WAIT, or still an earlier test's


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that no socket of any address has."""
    for _ in range(1000):
        first = _FIRST + secrets.randbelow(_LAST - _FIRST - count)
        ports = range(first, first + count)
        if _given.isdisjoint(ports) and all(map(_is_free, ports)):
            _given.update(ports)
            return first
    raise AssertionError(f"no {count} free ports between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    with ExitStack() as stack:
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                try:
                    probe = stack.enter_context(socket.socket(family, kind))
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    probe.bind((address, port))
                except OSError as error:
                    if error.errno == errno.EADDRINUSE:
                        return False
                    assert family == socket.AF_INET6, error  # a host without IPv6
    return True
