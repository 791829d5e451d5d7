"""A layer that is being made, and the tree below it, looked at as the one tree that they will be.

No process changes what is below, and this one alone writes to the layer's own directory. So a path is resolved here,
component by component, in the layer first and then below, and links lead nowhere out of the two.
"""

from __future__ import annotations

import errno
import os
import stat

from corten.errors import Invalid
from corten.kernel import paths, xattr
from corten.layers import attributes, tree
from corten.layers.limits import LONGEST_PATH, quoted

_MAX_LINKS = 40  # as the kernel
Owner = tuple[int, int]


class Directory:
    """One directory: what the layer has of it (`own`) and what is below (`base`); -1 for what is not there.

    Both descriptors are its own, and closed with it. It keeps those above it.
    """

    __slots__ = ("_name", "above", "base", "own")

    def __init__(self, own: int, base: int, above: Directory | None = None, name: bytes = b"") -> None:
        self.own = own
        self.base = base
        self.above = above
        self._name = name

    def __del__(self) -> None:
        for fd in (self.own, self.base):
            if fd >= 0:
                os.close(fd)

    @property
    def path(self) -> bytes:
        """Where it is, for errors."""
        names = []
        here: Directory | None = self
        while here is not None and here.above is not None:
            names.append(here._name)
            here = here.above
        return b"/" + b"/".join(reversed(names))

    def status(self, name: bytes) -> os.stat_result | None:
        return paths.status(self.own, name) or paths.status(self.base, name)

    def own_status(self, name: bytes) -> os.stat_result | None:
        """In the layer alone."""
        return paths.status(self.own, name)

    def link(self, name: bytes) -> bytes:
        """Where the link `name` leads."""
        return os.readlink(name, dir_fd=self.own if paths.status(self.own, name) is not None else self.base)

    def enter(self, name: bytes) -> Directory:
        """The directory `name` in it, which is one and no link."""
        if len(name) > 255:
            raise OSError(errno.ENAMETOOLONG, f"{os.strerror(errno.ENAMETOOLONG)}: {quoted(name)}")
        found = Directory(-1, -1, self, name)
        if (own := paths.status(self.own, name)) is not None:
            found.own = tree.open_directory(name, self.own)
        below = paths.status(self.base, name)
        if below is not None and stat.S_ISDIR(below.st_mode) and (own is None or stat.S_ISDIR(own.st_mode)):
            found.base = tree.open_directory(name, self.base)
        return found

    def have(self) -> int:
        """The layer's own descriptor of it; it is made as it is below where the layer has not got it yet."""
        if self.own < 0:
            assert self.above is not None
            above = self.above.have()
            os.mkdir(self._name, 0o700, dir_fd=above)
            self.own = tree.open_directory(self._name, above)
            look_like(self.own, self.base)
        return self.own

    def make(self, name: bytes, mode: int, owner: Owner) -> Directory:
        """A new directory in it."""
        here = self.have()
        os.mkdir(name, 0o700, dir_fd=here)
        made = Directory(tree.open_directory(name, here), -1, self, name)
        os.fchown(made.own, *owner)
        os.fchmod(made.own, mode)
        return made


def look_like(made: int, model: int) -> None:
    """Give a directory of the layer the looks of the one below."""
    status = os.fstat(model)
    attributes.describe(made, status, (status.st_uid, status.st_gid), xattr.all_of(model))


def find(top: Directory, path: bytes) -> tuple[Directory, list[bytes]]:
    """The deepest directory that is there on the way to `path`, links followed, and what is left of the way: nothing
    for a directory, one name for what is something else, or the names that are not there.

    Raises Invalid for a way through something that is no directory, or in a circle.
    """
    if len(path) > LONGEST_PATH:
        raise Invalid(f"path is too long: {quoted(path)}")
    way, missing = [top], list[bytes]()
    parts, links = _parts(path), 0
    while parts:
        part = parts.pop()
        if part == b"..":
            if missing:
                missing.pop()
            elif len(way) > 1:
                way.pop()
            continue
        status = way[-1].status(part) if not missing else None
        if status is None:
            missing.append(part)
        elif stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise Invalid(f"too many levels of symbolic links: {quoted(path)}")
            target = way[-1].link(part)
            if target.startswith(b"/"):
                del way[1:]
            parts += _parts(target)
        elif stat.S_ISDIR(status.st_mode):
            way.append(way[-1].enter(part))
        elif parts:
            raise Invalid(f"not a directory: {quoted(way[-1].path.rstrip(b'/') + b'/' + part)}")
        else:
            missing.append(part)
    return way[-1], missing


def _parts(path: bytes) -> list[bytes]:
    """The last one first."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
