"""Confinement of a process that reads hostile bytes: it can change the trees it works on, and nothing else.

Its root becomes an empty file system that is mounted nowhere, so that a link resolves to nothing even where a mistake
follows it: what is left are the trees, by the descriptors that are held. Landlock takes away every file outside of them
(and, as a landlocked task, mount(2) and its relatives altogether; it does not cover chmod and chown, against which the
empty root is), a network namespace of its own every socket's other end, a session of its own root's keys, resource
limits the rest. What the process keeps of root is what making files of any owner and kind needs. Not to be undone: for
a process that ends after its work.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
from typing import NamedTuple

from corten.kernel import caps, descriptors
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.kernel import syscall as sys

_RULE_PATH_BENEATH = 1
_CREATE_RULESET_VERSION = 1
# Access rights by Landlock ABI (linux/landlock.h): 13 bits in the first, REFER in 2, TRUNCATE in 3, IOCTL_DEV in 5.
_ACCESS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_EXECUTE, _IOCTL_DEV = 1, 1 << 15
# SYS_ADMIN is for trusted.overlay.opaque.
_KEEP = frozenset(
    "CAP_" + word for word in "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID SYS_ADMIN MKNOD SETFCAP".split()
)


class Confinement(NamedTuple):
    """What could be had: Landlock's ABI (0: the kernel has none), and whether network and root are gone."""

    landlock: int
    network: bool
    root: bool


def confine(*trees: int, user: int = -1, memory: int = 1 << 30, files: int = 2048) -> Confinement:
    """Confine the calling process, of one thread, to the directories `trees`. `memory` bounds address space in bytes.

    With the descriptor `user` it becomes root of that user namespace first, and has power over no other user's files.
    Paths of the host do not resolve afterwards, and no module can be imported. Where `..` may be followed, a tree has
    to be a mount of its own (`kernel.mount.view`).

    A kernel without Landlock, or a machine that permits no new namespace or mount, is named in the answer; what does
    work must not fail, so anything else raises OSError.
    """
    network = _unshare()
    _leave_keys()
    root = _leave_root()
    if user >= 0:
        p.setns(user, p.CLONE_NEWUSER)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    p.prctl(p.PR_SET_NO_NEW_PRIVS, 1)
    landlock = _landlock(trees)
    _drop_capabilities()
    return Confinement(landlock, network, root)


def _unshare() -> bool:
    try:
        p.unshare(p.CLONE_NEWNET | p.CLONE_NEWIPC)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EINVAL, errno.ENOSPC):
            return False
        raise
    return True


def _leave_keys() -> None:
    """What root has in its session (keyrings(7)). A filter that refuses this refuses the rest of keyctl(2) as well."""
    try:
        p.join_new_session_keyring()
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise


def _leave_root() -> bool:
    """An empty root, and this process's descriptors for its current directory: chroot(2) to a mount that is nowhere
    has no way back, as nothing lies above it."""
    try:
        own, empty = descriptors.hold(), m.new("tmpfs", ("nr_inodes=1",), m.MOUNT_ATTR_RDONLY)
    except PermissionError:
        return False
    os.fchdir(empty)
    os.chroot(".")
    descriptors.enter(own)
    os.close(own)
    os.close(empty)
    return True


def _landlock(trees: tuple[int, ...]) -> int:
    try:
        abi = sys.syscall("landlock_create_ruleset", sys.SYS_landlock_create_ruleset, None, 0, _CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise
    handled = _ACCESS[max(known for known in _ACCESS if known <= abi)]
    attributes = struct.pack("Q", handled)
    ruleset = sys.syscall("landlock_create_ruleset", sys.SYS_landlock_create_ruleset, attributes, len(attributes), 0)
    try:
        for tree in trees:
            rule = struct.pack("=Qi", handled & ~(_EXECUTE | _IOCTL_DEV), tree)
            sys.syscall("landlock_add_rule", sys.SYS_landlock_add_rule, ruleset, _RULE_PATH_BENEATH, rule, 0)
        sys.syscall("landlock_restrict_self", sys.SYS_landlock_restrict_self, ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _drop_capabilities() -> None:
    """Only what unpacking needs stays permitted. The bounding set first: dropping from it needs CAP_SETPCAP."""
    permitted = caps.capget().permitted
    if "CAP_SETPCAP" in permitted:
        caps.drop_bounding(_KEEP)
    caps.capset(permitted & _KEEP, permitted & _KEEP, ())
