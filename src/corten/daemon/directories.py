"""The daemon's directories, and their modes: open to root, and to no other user of the machine.

    <data-root>   0700   databases, images, containers' trees, volumes: secrets, and any setuid file that a container's
                         root, or an image, has there (CVE-2021-41091)
    <exec-root>   0711   other users can reach the socket, which has a mode of its own, and list nothing
    below         0700, files 0600; in trees and volumes the modes are those of what writes there

A container needs no way in, also when its root is another user of the host: what it sees are mounts that a process of
the host's root has opened for it. The daemon's umask is 077, so that what it makes is private where nothing else is
said; what a container or a client has to reach gets its mode where it is made.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from corten.daemon.config import Config
from corten.kernel import paths
from corten.kernel.filesystems import is_in_memory

log = logging.getLogger("cortend")

UMASK = 0o077
_OF_DATA = ("containers", "snapshots", "volumes", "content", "content/blobs", "content/ingest", "places", "quarantine",
            "machines", "corten.db", "corten.db-wal", "corten.db-shm", "corten.db-journal", "lock")  # fmt: skip
_OF_EXEC = ("containers", "machines", "builds", "launcher.log", "daemon.log", "lock", "names.sock", "forwarder.sock")


def make(settings: Config) -> None:
    """Both roots. What an older version, or another hand, has left open is closed, and that is said in the log; trees
    and volumes are not walked: no other user gets to them. Call it before there is a socket."""
    settings.data_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.make_public(settings.exec_root.parent)
    settings.exec_root.mkdir(mode=0o711, exist_ok=True)
    _own(settings.data_root, 0o700)
    _own(settings.exec_root, 0o711)
    for root, names in ((settings.data_root, _OF_DATA), (settings.exec_root, _OF_EXEC)):
        for name in names:
            _close(root / name)
        (root / "containers").mkdir(mode=0o700, exist_ok=True)
    for warning in exposed(settings.data_root):
        log.warning("%s", warning)


def in_memory(exec_root: Path) -> Path:
    """Where the steps of builds have what must not get to a disk: below the exec root where that is in memory, as /run
    is, and in /dev/shm where it is not."""
    paths.make_public(exec_root)
    if is_in_memory(exec_root):
        return exec_root / "builds"
    status = exec_root.stat()
    return Path(f"/dev/shm/corten-builds-{status.st_dev:x}.{status.st_ino:x}")


def exposed(root: Path) -> tuple[str, ...]:
    """A warning for each directory above `root` in which another user can put something in its place. dockerd does not
    ask; refusing would break machines that work."""
    return tuple(
        f"WARNING: {parent} can be changed by others than root: they can replace what is below it, {root} with it"
        for parent in reversed(root.resolve().parents)
        if _changeable(os.stat(parent))
    )


def _changeable(status: os.stat_result) -> bool:
    writers = status.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0))
    return status.st_uid != 0 or bool(writers and not status.st_mode & stat.S_ISVTX)


def _own(root: Path, mode: int) -> None:
    """Root's, with exactly this mode."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if status.st_uid:
            os.fchown(fd, 0, 0)
            log.warning("%s belonged to user %d: it is root's now; check what is in it", root, status.st_uid)
        before = stat.S_IMODE(status.st_mode)
        os.fchmod(fd, mode)
        if before & 0o077 & ~mode:
            log.warning("%s had the mode %o, others than root could get at it: %o now", root, before, mode)
    finally:
        os.close(fd)


def _close(path: Path) -> None:
    """Take from others, and from the group, what they may do with `path`, when it is there."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if mode & 0o077:
        os.chmod(path, mode & ~0o077)
        log.warning("%s had the mode %o: %o now", path, mode, mode & ~0o077)
