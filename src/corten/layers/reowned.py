"""A tree that a container in a user namespace wrote, given the ids that its programs saw: so are layers on the disk."""

from __future__ import annotations

import os
import stat

from corten.kernel import descriptors, xattr
from corten.layers import attributes, tree
from corten.layers.owners import CAPABILITY, Owners

_SET_IDS = stat.S_ISUID | stat.S_ISGID


def reown(top: int, owners: Owners) -> None:
    """Of the directory `top` and everything below it, which nothing else changes meanwhile. Modes stay as they are, and
    capabilities of files name no root then."""
    status = os.fstat(top)
    os.fchown(top, *owners.inside(status.st_uid, status.st_gid))
    done: set[tuple[int, int]] = set()  # of several names: the ids inside may be ids on the disk as well
    for found in tree.walk(top):
        status = found.status
        owner = owners.inside(status.st_uid, status.st_gid)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if (status.st_dev, status.st_ino) in done:
                continue
            done.add((status.st_dev, status.st_ino))
        if owner == (status.st_uid, status.st_gid):
            continue
        held = attributes.hold(found.dirfd, found.name, stat.S_IFMT(status.st_mode))
        try:
            _give(descriptors.path(held), status, owner, owners)
        finally:
            os.close(held)


def _give(held: bytes, status: os.stat_result, owner: tuple[int, int], owners: Owners) -> None:
    """chown(2) clears what runs with other rights: set-id bits, and capabilities."""
    regular = stat.S_ISREG(status.st_mode)
    kept = xattr.all_of(held) if regular else {}
    os.chown(held, *owner)
    if regular and status.st_mode & _SET_IDS:
        os.chmod(held, stat.S_IMODE(status.st_mode))
    if CAPABILITY in kept:
        attributes.put(held, {CAPABILITY: owners.attributes(kept)[CAPABILITY]})
