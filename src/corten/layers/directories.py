"""The directories of a tree that is being made, by path. Links are followed as in a chroot: they may lead anywhere in
the tree, and never out of it. The descriptors of the last ones are kept, since entries come directory by directory."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from corten.kernel import paths

PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NOFOLLOW: with it a link at the end is ENOTDIR, as a file is, and not ELOOP, as one on the way is.
_HERE = os.O_PATH | os.O_DIRECTORY
_PLAIN = paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS | paths.RESOLVE_NO_SYMLINKS
_CACHE = 128
_MAX_LINKS = 40  # as the kernel


class Place(NamedTuple):
    """A directory: an O_PATH descriptor, and its path from the root without a link in it."""

    fd: int
    real: bytes

    def path(self, name: bytes) -> bytes:
        """The real path of what is called `name` in it."""
        return self.real + b"/" + name if self.real else name


class Directories:
    """`close` it at the end; `root` is the caller's. Descriptors that are handed out stay its own, and are good until
    the next `trim`."""

    def __init__(self, root: int) -> None:
        self._root = Place(root, b"")
        self._kept: dict[bytes, Place] = {}  # in the order of use
        self._stale = False

    def find(self, path: bytes) -> Place:
        """A directory that is there. Raises FileNotFoundError, NotADirectoryError, or OSError for too many links."""
        if not path:
            return self._root
        place = self._kept.get(path)
        if place is None:
            place = self.keep(path, self._open(path))
        return place

    def keep(self, path: bytes, place: Place) -> Place:
        self._kept[path] = place
        return place

    def is_plain(self, path: bytes) -> bool:
        """Whether nothing but directories is on this path, as far as anything is."""
        place = self._kept.get(path)
        if place is not None or not path:
            return place is None or place.real == path
        try:
            self.keep(path, Place(paths.openat2(self._root.fd, path, _HERE, 0, _PLAIN), path))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                return False
            if error.errno != errno.ENOENT:
                raise
        return True

    def _open(self, path: bytes) -> Place:
        try:
            return Place(paths.openat2(self._root.fd, path, _HERE, 0, _PLAIN), path)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self._follow(path)

    def _follow(self, path: bytes) -> Place:
        """Along a path with links in it, one component at a time."""
        here, rest, links = Place(os.dup(self._root.fd), b""), path.split(b"/")[::-1], 0
        try:
            while rest:
                part = rest.pop()
                target = None if part in (b"", b".", b"..") else link(here.fd, part)
                if target is None:
                    here = self._step(here, part)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                rest += target.split(b"/")[::-1]
                if target.startswith(b"/"):
                    here = self._moved(here, Place(os.dup(self._root.fd), b""))
        except BaseException:
            os.close(here.fd)
            raise
        return here

    def _step(self, here: Place, part: bytes) -> Place:
        """One component further, which is no link; `here` is closed."""
        if part in (b"", b"."):
            return here
        if part == b"..":
            above = here.real.rpartition(b"/")[0]
            fd = paths.openat2(self._root.fd, above or b".", _HERE, 0, _PLAIN)
            return self._moved(here, Place(fd, above))
        return self._moved(here, Place(os.open(part, PATH_DIRECTORY, dir_fd=here.fd), here.path(part)))

    def _moved(self, here: Place, there: Place) -> Place:
        os.close(here.fd)
        return there

    def changed(self) -> None:
        """Something was removed: kept paths may have led through it. Their descriptors stay good until `trim`."""
        self._stale = True

    def trim(self) -> None:
        """Between entries: close descriptors that may be stale, or the oldest when there are many."""
        if not self._stale and len(self._kept) <= _CACHE:
            return
        surplus = len(self._kept) if self._stale else len(self._kept) - _CACHE // 2
        for path in list(self._kept)[:surplus]:
            os.close(self._kept.pop(path).fd)
        self._stale = False

    def close(self) -> None:
        self._stale = True
        self.trim()


def link(dirfd: int, name: bytes) -> bytes | None:
    """The target of `name` when it is a symbolic link."""
    try:
        return os.readlink(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def inside(above: list[bytes], target: bytes) -> list[bytes]:
    """Where a link leads, with `..` stopping at the root, as in a chroot."""
    parts = list(above)
    for part in target.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def plain(root: int, path: bytes, flags: int = os.O_PATH) -> int | None:
    """A descriptor of the directory at a path without links; None when there is none, or no path can lead to it."""
    try:
        return paths.openat2(root, path or b".", flags | os.O_DIRECTORY, 0, _PLAIN)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG):
            return None
        raise
