"""Which file systems are the kernel's own: what is in them is made when it is read."""

from __future__ import annotations

import ctypes
import os
import struct

from corten.kernel import syscall as sys

# linux/magic.h: proc, sysfs, cgroup, cgroup2, devpts, mqueue, debugfs, tracefs, securityfs, bpf, configfs, pstore,
# efivarfs, selinuxfs, fusectl, binfmt_misc, nsfs
_KERNELS = frozenset((
    0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x1CD1, 0x19800202, 0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11,
    0x62656570, 0x6165676C, 0xDE5E81E4, 0xF97CFF8C, 0x65735543, 0x42494E4D, 0x6E736673,
))  # fmt: skip
_TMPFS = 0x01021994
_SIZE = 120  # bytes of struct statfs


def is_kernels_own(fd: int) -> bool:
    """Whether `fd` is on one of them (fstatfs(2))."""
    return _kind(fd) in _KERNELS


def is_in_memory(path: os.PathLike[str]) -> bool:
    """Whether a directory of the host's is on a tmpfs."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _kind(fd) == _TMPFS
    finally:
        os.close(fd)


def _kind(fd: int) -> int:
    buffer = ctypes.create_string_buffer(_SIZE)
    sys.syscall("fstatfs", sys.SYS_fstatfs, fd, buffer)
    kind: int = struct.unpack_from("=q", buffer)[0]
    return kind & 0xFFFFFFFF
