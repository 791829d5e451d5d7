"""Capabilities of this process: capabilities(7), capget(2), capset(2), prctl(2).

A set is a frozenset of names as Docker and OCI write them, "CAP_CHOWN". The five sets of a thread, and the order in
which they can be given away:

    bounding     only shrinks; dropping needs CAP_SETPCAP in effect, so it comes first, while there still is some
    (user)       setresuid(2) to another user empties effective, and permitted too unless PR_SET_KEEPCAPS was set;
                 it belongs to the caller and comes between `drop_bounding` and `apply`
    permitted, effective, inheritable   one capset(2)
    ambient      may only hold what permitted and inheritable both hold, so it comes last; any later change of user
                 empties it again
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from corten.kernel.process import PR_CAP_AMBIENT, PR_CAPBSET_DROP, PR_CAPBSET_READ, prctl
from corten.kernel.syscall import SYS_capget, SYS_capset, SYS_prctl, attempt, syscall

_WORDS = """
    chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service
    net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct
    sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control
    setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
"""
NAMES: tuple[str, ...] = tuple("CAP_" + word.upper() for word in _WORDS.split())  # the index is the number
NUMBERS: dict[str, int] = {name: number for number, name in enumerate(NAMES)}

_VERSION_3 = 0x20080522
_Data = ctypes.c_char * 24  # made once: a ctypes type costs 0.2 ms, which a container's start would pay
_AMBIENT_RAISE = 2
_AMBIENT_CLEAR_ALL = 4


class Sets(NamedTuple):
    """What capget(2) and capset(2) exchange."""

    effective: frozenset[str]
    permitted: frozenset[str]
    inheritable: frozenset[str]


def mask(names: Iterable[str]) -> int:
    """The bits of `names`. Raises ValueError for an unknown name."""
    bits = 0
    try:
        for name in names:
            bits |= 1 << NUMBERS[name]
    except KeyError:
        raise ValueError(f"unknown capability {name!r}") from None
    return bits


def unmask(bits: int) -> frozenset[str]:
    """The names of `bits`; a capability newer than this table is left out."""
    return frozenset(name for number, name in enumerate(NAMES) if bits >> number & 1)


@cache
def last_cap() -> int:
    """The highest capability number of the running kernel (found without /proc, which may not be there)."""
    number = 0
    while attempt(SYS_prctl, PR_CAPBSET_READ, number + 1, 0, 0, 0) >= 0:
        number += 1
    return number


def known() -> frozenset[str]:
    """Every capability that both this table and the running kernel know."""
    return frozenset(NAMES[: last_cap() + 1])


def capget(pid: int = 0) -> Sets:
    """The sets of a process, 0 for the calling thread."""
    return Sets(*map(unmask, _get(pid)))


def _get(pid: int) -> tuple[int, int, int]:
    data = _Data()
    syscall("capget", SYS_capget, struct.pack("Ii", _VERSION_3, pid), data)
    words = struct.unpack("6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def effective() -> frozenset[str]:
    """What the calling thread may do now."""
    return capget().effective


def capset(effective: Iterable[str], permitted: Iterable[str], inheritable: Iterable[str]) -> None:
    """capset(2). Raises EPERM when permitted would grow, or inheritable would grow beyond bounding."""
    _set(mask(effective), mask(permitted), mask(inheritable))


def _set(*masks: int) -> None:
    words = [m & 0xFFFFFFFF for m in masks] + [m >> 32 for m in masks]
    syscall("capset", SYS_capset, struct.pack("Ii", _VERSION_3, 0), struct.pack("6I", *words))


def bounding() -> frozenset[str]:
    """The bounding set of the calling thread."""
    return frozenset(name for name in known() if prctl(PR_CAPBSET_READ, NUMBERS[name]))


def drop_bounding(keep: Iterable[str]) -> None:
    """Take everything but `keep` out of the bounding set, also what is newer than our table.

    Raises EPERM without CAP_SETPCAP, unless there is nothing to drop: a second call by an unprivileged process is fine.
    """
    kept = mask(keep)
    for number in range(64):
        if kept >> number & 1 or attempt(SYS_prctl, PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
            continue
        there = attempt(SYS_prctl, PR_CAPBSET_READ, number, 0, 0, 0)
        if there < 0:  # beyond the kernel's last
            return
        if there:
            raise OSError(errno.EPERM, f"{os.strerror(errno.EPERM)} in prctl(PR_CAPBSET_DROP, {number})")


def make_effective(names: Iterable[str]) -> None:
    """Add `names`, which are permitted, to the effective set. Raises EPERM."""
    effective, permitted, inheritable = _get(0)
    _set(effective | mask(names), permitted, inheritable)


def set_ambient(names: Iterable[str]) -> None:
    """Make the ambient set exactly `names`."""
    prctl(PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    for name in names:
        prctl(PR_CAP_AMBIENT, _AMBIENT_RAISE, NUMBERS[name])


def apply(
    effective: Iterable[str], permitted: Iterable[str], inheritable: Iterable[str] = (), ambient: Iterable[str] = ()
) -> frozenset[str]:
    """Take on these four sets, in the order that the kernel allows; the bounding set is for `drop_bounding`, before.

    What this process does not have itself cannot be passed on: those names are left out, and returned, for a warning.
    (A machine without CAP_SYS_RESOURCE still runs privileged containers.)
    """
    wanted = (mask(effective), mask(permitted), mask(inheritable))
    _, have, _ = _get(0)
    _set(*(bits & have for bits in wanted))
    set_ambient(unmask(mask(ambient) & wanted[1] & wanted[2] & have))
    return unmask((wanted[0] | wanted[1] | wanted[2]) & ~have)
