"""Short-lived children that make what a guest has as disks: an image of a tree, an empty file system, and one with what
a tree has."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from corten.errors import Failed, Unsupported
from corten.kernel import descriptors
from corten.kernel.full_disk import writing
from corten.layers.confine import confine
from corten.layers.erofs import image as erofs
from corten.supervisor import jail, steps, views

Json = dict[str, Any]

_DISK, _TREE = "disk", "tree"  # in the jail
_PATH = "/usr/sbin:/sbin"
_SECONDS = 600.0
# Nothing in it is for growing it, and its journal is as large as that of a disk of 10 GiB is by default. Tables of
# inodes count as written, since a file's holes are zeros: no guest writes zeros to gigabytes of them.
_FORMAT = (
    "-q -F -t ext4 -b 4096 -I 256 -m 0 -O none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum -E lazy_journal_init=1,root_owner=0:0"
).split()
# For a system of its own, which may grow it. Files of all users are read, and nothing else is allowed.
_SYSTEM = [word.replace("sparse_super,", "sparse_super,resize_inode,") for word in _FORMAT]
_READ_ALL = ("CAP_DAC_READ_SEARCH",)


def image(request: Json, fds: list[int]) -> None:
    """Write an EROFS image of the tree request["tree"], a mount, to the empty file fds[1]; what is answered has come to
    the disk. The process is confined to the tree."""

    def make() -> Json:
        top, path = views.of_mount(request["tree"]), os.fsdecode(os.readlink(descriptors.path(fds[1])))
        confine(top)
        with writing(path):
            made = erofs.write(top, fds[1], bytes.fromhex(request["uuid"]), request["label"].encode())
            os.fsync(fds[1])
        return {"size": made.size, "inodes": made.inodes}

    steps.serve(fds[0], make, None)


def disk(request: Json, fds: list[int]) -> None:
    """Make an empty ext4 file system in the file fds[1], which has its size, by mke2fs in a jail.

    Answers with Unsupported where there is none.
    """

    def make(mounts: jail.Mounts) -> None:
        steps.serve(fds[0], lambda: _format(mounts, os.fstat(fds[1]).st_size), None)

    jail.begin(make, jail.file(fds[1], _DISK))


def filled_disk(request: Json, fds: list[int]) -> None:
    """The same, with all that the tree request["tree"] has, a mount: by mke2fs, which looks at it read-only and without
    its devices. Failed where the file is too small for that."""
    top = views.of_mount(request["tree"])

    def make(mounts: jail.Mounts) -> None:
        steps.serve(fds[0], lambda: _filled(mounts, os.fstat(fds[1]).st_size), None)

    jail.begin(make, [*jail.file(fds[1], _DISK), *jail.tree(top, _TREE)])


def _format(mounts: jail.Mounts, size: int) -> Json:
    jail.enter(mounts, size)
    return _made(*_FORMAT)


def _filled(mounts: jail.Mounts, size: int) -> Json:
    jail.enter(mounts, size, _READ_ALL)
    return _made(*_SYSTEM, "-d", f"/{_TREE}")


def _made(*options: str) -> Json:
    environment = {**jail.environment(), "PATH": _PATH}
    try:
        done = subprocess.run(
            ("mke2fs", *options, f"/{_DISK}"), env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_SECONDS,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unsupported(
            "mke2fs is not installed on the daemon's machine (Debian package e2fsprogs): there is no disk with a file "
            "system without it"
        ) from None
    if done.returncode:
        raise Failed(f"mke2fs: {done.stderr.decode('utf-8', 'replace').strip()[-500:]}")
    return {}
