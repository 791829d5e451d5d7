"""QEMU, confined as ever, with devices of a host that has none: how far it comes with what its jail has of them.

Nodes of other devices stand for VFIO's, and for a USB device's file: it ends where the device itself would answer.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from corten.errors import StartFailed
from corten.kernel import process
from corten.vm import board, confine, passthrough
from corten.vm.board import Board
from corten.vm.passthrough import Link, Node, Passed
from e2e_parts.patience import PATIENCE
from vm import machines

pytestmark = pytest.mark.skipif(bool(machines.missing()), reason=machines.missing() or "there is QEMU")

CARD, MOUSE = Passed("pci", "0000:01:00.0", 0, 12), Passed("usb", "3.5")
PLAN = Board(
    machines.shape().qemu, "tcg", "11111111-2222-3333-4444-555555555555", 64 << 20, 64 << 20, 1, 1, ports=2
)  # fmt: skip
JAIL = [Node(one.path, "/dev/null") if isinstance(one, Node) else one for one in passthrough.jail([CARD])]


def said(arguments: Sequence[str], given: Sequence[int], jail: Sequence[Node | Link] = (), locked: int = 0) -> str:
    """All that a program in the jail says, which ends by itself."""
    with ExitStack() as held:
        pipe, errors = os.pipe()
        held.callback(os.close, pipe)
        try:
            _, ended = confine.execute(arguments, given, errors, lambda: None, False, jail=jail, locked=locked)
        finally:
            os.close(errors)
        held.callback(process.reap, ended)
        goes_on = not select.select([ended], [], [], PATIENCE)[0]
        if goes_on:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
        words = os.read(pipe, 1 << 16).decode()
        assert not goes_on, words
        return words


def qemu(plan: Board, opened: Sequence[int], jail: Sequence[Node | Link] = ()) -> str:
    with ExitStack() as held:
        pairs = [socket.socketpair() for _ in range(3)]
        for each in (*pairs[0], *pairs[1], *pairs[2]):
            held.callback(each.close)
        line = board.line(plan, board.Sockets(*(other.fileno() for _, other in pairs)), opened, [])
        return said(line.arguments, line.descriptors, jail)


def test_qemu_finds_a_pci_device_and_its_group() -> None:
    words = qemu(PLAN._replace(passed=(CARD,)), [], JAIL)
    assert "vfio 0000:01:00.0: failed to get group 12 status: Inappropriate ioctl for device" in words
    assert "no such host device" in qemu(PLAN._replace(passed=(CARD,)), []), "without them it does not"


def test_qemu_opens_a_usb_device_by_its_descriptor() -> None:
    with open("/dev/null", "r+b", 0) as file:
        words = qemu(PLAN._replace(passed=(MOUSE,), usb=0), [file.fileno()])
    assert "failed to open host usb device /dev/fdset/1" in words


def test_what_the_jail_has() -> None:
    """Nodes of its own user's, and links that lead nowhere."""
    words = said(["/usr/bin/find", "/dev", "/sys", "-printf", "%y %m %p %l\n"], [], JAIL)
    assert sorted(words.splitlines()) == sorted([
        "d 755 /dev ", "d 755 /dev/vfio ", "c 600 /dev/vfio/vfio ", "c 600 /dev/vfio/12 ",
        "d 755 /sys ", "d 755 /sys/bus ", "d 755 /sys/bus/pci ", "d 755 /sys/bus/pci/devices ",
        "d 755 /sys/bus/pci/devices/0000:01:00.0 ",
        "l 777 /sys/bus/pci/devices/0000:01:00.0/iommu_group /sys/kernel/iommu_groups/12",
        "l 777 /sys/bus/pci/devices/0000:01:00.0/subsystem /sys/bus/pci",
    ])  # fmt: skip
    words = said(["/usr/bin/find", "/dev", "/sys", "-writable", "!", "-type", "l"], [], JAIL)
    assert sorted(words.splitlines()) == ["/dev/vfio/12", "/dev/vfio/vfio"]


def test_memory_that_it_may_lock() -> None:
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    less = 1 << 20 if hard == resource.RLIM_INFINITY else hard >> 1
    words = said(["/usr/bin/grep", "locked", "/proc/self/limits"], [], locked=less)
    assert words.split()[3:5] == [str(less), str(less)]


def test_memory_that_it_may_not_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    real = resource.setrlimit

    def refused(which: int, to: tuple[int, int]) -> None:
        if which == resource.RLIMIT_MEMLOCK:
            raise ValueError("not allowed to raise maximum limit")
        real(which, to)

    monkeypatch.setattr(resource, "setrlimit", refused)
    with pytest.raises(StartFailed, match="needs 1024 bytes of locked memory, and this process may have fewer"):
        said(["/usr/bin/true"], [], locked=1024)
