"""Throw-away network namespaces for tests: a host, its neighbours, and containers, all in this process.

The calling thread enters a namespace and comes back; sockets stay in the namespace that they were made in.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corten.kernel import process, rtnetlink
from corten.kernel.netlink import Socket
from corten.tasks.contract import Namespace
from e2e_parts.patience import PATIENCE


def here() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Net:
    """A network namespace with its loopback up."""

    def __init__(self) -> None:
        back = here()
        try:
            process.unshare(process.CLONE_NEWNET)
            self.fd = here()
            self.route = Socket()
            self.route.request(rtnetlink.up(1))
        finally:
            process.setns(back, process.CLONE_NEWNET)
            os.close(back)

    def close(self) -> None:
        self.route.close()
        os.close(self.fd)

    @contextmanager
    def entered(self) -> Iterator[None]:
        back = here()
        process.setns(self.fd, process.CLONE_NEWNET)
        try:
            yield
        finally:
            process.setns(back, process.CLONE_NEWNET)
            os.close(back)

    @property
    def namespace(self) -> Namespace:
        return Namespace(Path(f"/proc/self/fd/{self.fd}"), self.fd, self.route.fileno())

    def run(self, *command: str) -> str:
        """The output of a program in this namespace; fails when it does."""
        with self.entered():
            done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def listen(self, address: str, port: int, protocol: str = "tcp") -> socket.socket:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.entered():
            made = socket.socket(family, kind)
        made.settimeout(PATIENCE)
        try:
            if protocol == "tcp":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if protocol == "tcp":
                made.listen()
        except BaseException:
            made.close()
            raise
        return made

    def connect(self, address: str, port: int, timeout: float = 2.0) -> socket.socket:
        """A TCP connection from here. OSError when it is refused, TimeoutError when nothing answers."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.entered():
            made = socket.socket(family, socket.SOCK_STREAM)
        made.settimeout(timeout)
        try:
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        made.settimeout(PATIENCE)
        return made

    def blocked(self, address: str, port: int) -> bool:
        """Nothing answers, or it is refused. What passes takes a millisecond; a drop is not waited for."""
        return not self.reaches(address, port, 0.3)

    def reaches(self, address: str, port: int, timeout: float = 4.0) -> bool:
        try:
            self.connect(address, port, timeout).close()
        except OSError:
            return False
        return True


def passing(probes: Sequence[tuple[Net, str, int]]) -> list[bool]:
    """Which of these TCP connections can be made; all are tried at the same time (see `Net.blocked`)."""
    trying: dict[socket.socket, int] = {}
    for number, (net, address, port) in enumerate(probes):
        with net.entered():
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        started = made.connect_ex((address, port)) in (0, errno.EINPROGRESS)
        trying[made] = number if started else -1  # no route, for one
    passed = [False] * len(probes)
    deadline = time.monotonic() + 0.6
    waiting = {made for made, number in trying.items() if number >= 0}
    while ready := select.select([], waiting, [], max(0.0, deadline - time.monotonic()))[1]:  # at least once
        for made in ready:
            passed[trying[made]] = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            waiting.discard(made)
    for made in trying:
        made.close()
    return passed


def wire(one: Net, other: Net, one_address: str, other_address: str, names: tuple[str, str] = ("up0", "up0")) -> None:
    """A cable between two namespaces, with addresses in one subnet."""
    with one.entered(), Socket() as route:
        number = 100 + 2 * sum(link.ifindex >= 100 for link in rtnetlink.links(route))
        mac = (b"\x02\x99" + os.urandom(4)).hex(":")
        pair = rtnetlink.veth(names[0], number, 0, names[1], number + 1, mac, other.fd)
        route.request(pair, rtnetlink.address(number, ipaddress.ip_interface(one_address)), rtnetlink.up(number))
        there = number + 1
        other.route.request(rtnetlink.address(there, ipaddress.ip_interface(other_address)), rtnetlink.up(there))
        rtnetlink.settle_carrier(route, names[0])
        rtnetlink.settle_carrier(other.route, names[1])
