"""File systems that a container's first process may not mount, or should not: trees of images, and volumes of a type.

They are mounted by the host's root, in the host's network, before there are namespaces: NFS is reached from the host,
and a user namespace may mount next to nothing. An entry of the specification's "mounts" asks for it by an option of our
own: `HOST` for what mount(2) mounts, `TREE` for an overlay of layers; `SUBPATH` names a directory in either. A bind of
what another container has mounted has `MOUNT`, with the number of that mount (`kernel.mount.number`): the other
container may have put something else in its place. A file system in memory has `CONTENT`, with the path of the file
that says what is in it (`filled`).
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel import process as p

HOST, TREE = "x-corten.host", "x-corten.tree"
SUBPATH = "x-corten.subpath="
MOUNT = "x-corten.mount="
CONTENT = "x-corten.content="
_LANDING = "/sys"  # a directory that every host has; in a mount namespace of this process's own

_FLAGS: dict[str, tuple[int, int]] = {  # word: (set, clear), as mount(8) and mount(2) have them
    "ro": (1, 0), "rw": (0, 1), "nosuid": (2, 0), "suid": (0, 2), "nodev": (4, 0), "dev": (0, 4),
    "noexec": (8, 0), "exec": (0, 8), "sync": (16, 0), "async": (0, 16), "mand": (64, 0), "nomand": (0, 64),
    "dirsync": (128, 0), "noatime": (1 << 10, 0), "atime": (0, 1 << 10), "nodiratime": (1 << 11, 0),
    "diratime": (0, 1 << 11), "relatime": (1 << 21, 0), "norelatime": (0, 1 << 21),
    "strictatime": (1 << 24, 0), "nostrictatime": (0, 1 << 24), "defaults": (0, 0),
}  # fmt: skip


def arguments(words: tuple[str, ...]) -> tuple[int, str]:
    """mount(2)'s flags, and what is left for the file system itself."""
    flags, data = 0, []
    for word in words:
        if word in _FLAGS:
            added, cleared = _FLAGS[word]
            flags = (flags & ~cleared) | added
        else:
            data.append(word)
    return flags, ",".join(data)


def mount(fstype: str, source: str, words: tuple[str, ...]) -> int:
    """A detached mount by mount(2), which every file system has, in a mount namespace that this process makes for it.

    No message has the options: they may be a password.
    """
    subpath = next((word.removeprefix(SUBPATH) for word in words if word.startswith(SUBPATH)), "")
    flags, data = arguments(tuple(word for word in words if word != HOST and not word.startswith(SUBPATH)))
    p.unshare(p.CLONE_NEWNS)
    m.set_propagation("/", m.MS_SLAVE)
    try:
        m.mount(source, _LANDING, fstype, flags, data)
    except OSError as error:
        raise OSError(error.errno, _refusal(fstype, source, error)) from None
    return _detached(subpath)


def filled(words: tuple[str, ...]) -> int:
    """A detached, read-only file system in memory, never swapped where the kernel can do without (Linux 6.4).

    The file at `CONTENT`, which an engine keeps open, begins with a line of JSON, a list of {"name", "size", "uid",
    "gid", "mode"}; behind it are the files' bytes. OSError, ValueError.
    """
    path = next(word.removeprefix(CONTENT) for word in words if word.startswith(CONTENT))
    attributes = m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC
    try:
        tree = m.new("tmpfs", ("mode=755", "noswap"), attributes)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        tree = m.new("tmpfs", ("mode=755",), attributes)
    try:
        with open(path, "rb") as file:
            for row in json.loads(file.readline()):
                _put(tree, row, file.read(row["size"]))
        m.set_attributes(tree, m.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(tree)
        raise
    return tree


def _put(tree: int, row: dict[str, Any], content: bytes) -> None:
    fd = os.open(row["name"], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=tree)
    with open(fd, "wb") as file:
        file.write(content)
        os.fchown(fd, row["uid"], row["gid"])
        os.fchmod(fd, row["mode"])


def below(tree: int, subpath: str) -> int:
    """A detached mount of a directory of the detached mount `tree`, which is closed."""
    p.unshare(p.CLONE_NEWNS)
    m.set_propagation("/", m.MS_SLAVE)
    m.move_to(tree, _LANDING)
    os.close(tree)
    return _detached(subpath)


def _detached(subpath: str) -> int:
    root = os.open(_LANDING, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        where = paths.open_in(root, subpath) if subpath else os.dup(root)
        try:
            return m.clone(where, recursive=False)
        finally:
            os.close(where)
    except FileNotFoundError as error:
        raise OSError(error.errno, f"there is no {subpath!r} to mount: {error.strerror}") from None
    finally:
        os.close(root)
        m.unmount(_LANDING, m.MNT_DETACH)


def _refusal(fstype: str, source: str, error: OSError) -> str:
    if error.errno == errno.ENODEV:
        return f"this machine has no file system {fstype!r}"
    return f"cannot mount {source!r} of type {fstype!r}: {os.strerror(error.errno or 0)}"
