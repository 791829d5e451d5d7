"""A directory that is brought into a layer and packed at once: each file is read one time, for its copy and the tar.

    bringing = PackedBringing(Directory(layer, below), how, Packer(out))
    bringing.one(tree, b"src", b"/app/", False)

The tar is the one that `Packer.tree` would make of the layer afterwards: nothing else may be in it, as only then things
come in the order of a walk.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from corten.kernel import xattr
from corten.layers import whiteout
from corten.layers.bring import Bringing, How
from corten.layers.content import write
from corten.layers.earlier import Brought, Earlier
from corten.layers.leaf import NEW_FILE
from corten.layers.limits import LONGEST_PATH
from corten.layers.pack import SMALL, Looks, Packer, open_file
from corten.layers.sources import Level, Step
from corten.layers.sums import settled
from corten.layers.union import Directory

Known = Callable[[os.stat_result], bytes]  # the SHA-256 of a file that looks so, b"" where it is not known
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK)  # Landlock before its second version, file systems without links


class PackedBringing(Bringing):
    """`packer` gets the layer; its end is the caller's. Raises as `Bringing` and `Packer` do.

    `known`: digests of files in the source, which no process changes.

    `taking`: no process changes the files that come, and all other names of theirs go soon. So a file that would look
    as its copy is given a further name instead. One that has such a name already is copied: two layers with the same
    file would show it with two names for ever, which programs look at (cron reads no table of two names).

    `earlier`: what the same copy brought before is below the layer. The files that are the same come into the tar and
    not into the layer, where what is gone is marked. `brought`, where nothing was in the target before, is what has
    come, for the next time; None otherwise. `made` are bytes of the files that are in the layer.
    """

    def __init__(
        self,
        top: Directory,
        how: How,
        packer: Packer,
        taking: bool = False,
        known: Known = lambda status: b"",
        plain: Known = lambda status: b"",
        earlier: Earlier | None = None,
    ) -> None:
        super().__init__(top, how)
        self._plain = plain
        self._earlier = earlier
        self._skipped = 0  # bytes
        self.brought: Brought | None = None
        self._known = known
        self._packer = packer
        self._taking = taking
        self._into: Directory | None = None
        self._begun: os.stat_result | None = None  # how the target looked when it was packed
        self._last: tuple[Directory | None, bytes] = (None, b"")
        self._bare = False  # whether that has no attributes, of which a new file may get some (acl(5))

    def _content(self, seen: int, target: bytes) -> None:
        place = self._into = self._target(target)
        if place.base < 0 or not os.listdir(place.base):
            self.brought = Brought()
        self._walk(seen, None, target, place)
        if self._begun is not None:
            os.utime(place.own, ns=(self._begun.st_atime_ns, self._begun.st_mtime_ns))
        else:
            self._packer.tree(self._top.own)  # what was made on the way to it

    def _begin(self, place: Directory) -> None:
        """Something comes: pack the way to it. What comes makes the target younger, which `_content` undoes."""
        own = place.have()
        self._touch(place)
        self._begun = os.fstat(own)
        self._packer.tree(self._top.own)

    def _copy(self, level: Level, target: bytes) -> Directory:
        if self._begun is None and self._into is not None:
            self._begin(self._into)
        return super()._copy(level, target)

    def _made_copy(self, level: Level, above: Level) -> None:
        """It looks as its model from now on: what comes into it is packed behind it."""
        self._note(above, level.name, level.status if settled(level.status) else None)
        own = level.place.have()
        self._describe(own, level.fd, level.status)
        self._packer.add(above.place.have(), level.name, self._path(level.place).rstrip(b"/"), os.fstat(own))

    def _thing(self, above: Directory, step: Step) -> None:
        path = self._path(above) + step.name
        digest, plain = b"", False
        if stat.S_ISREG(step.status.st_mode):
            digest = self._known(step.status)
            plain = bool(digest) and step.status.st_nlink == 1 and bool(self._plain(step.status))
        if plain and self._earlier is not None and self._earlier.same(os.fsencode(step.path), step.status):
            self._same(step, path, digest)
        elif not self._copied(above, step, path, digest, plain):
            return
        self._note(step.level, step.name, step.status if plain or _settled_link(step.status) else None)

    def _copied(self, above: Directory, step: Step, path: bytes, digest: bytes, plain: bool) -> bool:
        """False for what is left out. `plain`: it has no attributes that travel."""
        if above.base < 0 and stat.S_ISREG(step.status.st_mode) and step.status.st_nlink == 1:
            into = above.have()
            if self._taking and self._looks_so(step.status) and self._take(into, step, path, digest, plain):
                return True
            if _at_once(step.status) and self._small(into, step, path, digest, plain and self._bare):
                return True
        super()._thing(above, step)
        if (made := above.own_status(step.name)) is None:
            return False
        self._packer.add(above.own, step.name, path, made, digest if made.st_size == step.status.st_size else b"")
        if step.status.st_nlink > 1:
            self._packer.further(path, made)
        return True

    def _same(self, step: Step, path: bytes, digest: bytes) -> None:
        """A file that the earlier form has. What is said of it is what `_describe` made of it there."""
        looks = self._looks(step.status)
        fd = open_file(step.level.fd, step.name)
        try:
            self._packer.same(path, fd, looks, digest)
        finally:
            os.close(fd)
        self.size += looks.st_size
        self._skipped += looks.st_size

    def _looks(self, status: os.stat_result) -> Looks:
        """Of the copy of a file."""
        mode, times = self._mode(status), self._how.times
        modified = status.st_mtime_ns if times is None else times * 10**9
        return Looks(status.st_mode if mode is None else mode, *self._owner(status), status.st_size, modified)

    def _note(self, level: Level, name: bytes, status: os.stat_result | None) -> None:
        if self.brought is not None:
            self.brought.add(os.fsencode(level.prefix), name, status)

    def _leave(self, level: Level) -> None:
        if self._earlier is None or self.brought is None:
            return
        here, directory = level.place.have(), os.fsencode(level.prefix)
        for name in self._earlier.gone(directory, self.brought.names(directory)):
            whiteout.make(here, name)

    @property
    def made(self) -> int:
        return self.size - self._skipped

    def _looks_so(self, status: os.stat_result) -> bool:
        """Whether a copy would look as the file itself, but for attributes."""
        how, mode = self._how, stat.S_IMODE(status.st_mode)
        return (
            how.owner in (None, (status.st_uid, status.st_gid))
            and (how.mode is None or how.mode.of(mode, False) == mode)
            and how.times in (None, status.st_mtime_ns / 10**9)
        )

    def _take(self, into: int, step: Step, path: bytes, digest: bytes, plain: bool) -> bool:
        """False when it must be copied."""
        name = step.name
        try:
            os.link(name, name, src_dir_fd=step.level.fd, dst_dir_fd=into, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._taking = False
            return False
        fd = open_file(into, name)
        try:
            now = os.fstat(fd)
            if not os.path.samestat(now, step.status) or now.st_nlink != 2 or not (plain or not os.listxattr(fd)):
                os.unlink(name, dir_fd=into)  # it has attributes, or another step takes it at the same time
                return False
            digest = digest if now.st_size == step.status.st_size else b""
            if now.st_blocks * 512 >= now.st_size:
                self._packer.same(path, fd, Looks.of(now), digest)
            else:  # it has holes
                self._packer.add(into, name, path, now, digest)
        finally:
            os.close(fd)
        self.size += now.st_size
        return True

    def _small(self, into: int, step: Step, path: bytes, digest: bytes, plain: bool) -> bool:
        """False when something is there already, or when it was exchanged."""
        data = open_file(step.level.fd, step.name)
        try:
            if not os.path.samestat(os.fstat(data), step.status):
                return False
            try:
                made = os.open(step.name, NEW_FILE, 0o600, dir_fd=into)
            except FileExistsError:
                return False
            try:
                if plain and len(path) <= LONGEST_PATH:
                    self._plainly(data, made, step, path, digest)
                    return True
                content = os.pread(data, SMALL, 0)
                write(made, content)
                self._describe(made, data, step.status)
                self._packer.written(path, made, content, digest if len(content) == step.status.st_size else b"")
            finally:
                os.close(made)
        finally:
            os.close(data)
        self.size += len(content)
        return True

    def _plainly(self, data: int, made: int, step: Step, path: bytes, digest: bytes) -> None:
        """`_small` of a file without attributes, into a directory that gives it none."""
        status, times = step.status, self._how.times
        looks = self._looks(status)
        self._packer.copied(path, data, made, looks, digest)
        os.fchown(made, looks.st_uid, looks.st_gid)
        os.fchmod(made, stat.S_IMODE(looks.st_mode))
        os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns) if times is None else (times * 10**9,) * 2)
        self.size += looks.st_size

    def _path(self, place: Directory) -> bytes:
        """Of what is in it, in the tar. Many things come into the same directory, one after the other."""
        if self._last[0] is not place:
            path = place.path[1:]
            self._last = place, path + b"/" if path else b""
            self._bare = not xattr.all_of(place.have())
        return self._last[1]


def _settled_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) and status.st_nlink == 1 and settled(status)


def _at_once(status: os.stat_result) -> bool:
    """Whether a file is small, and without holes."""
    return status.st_size <= min(SMALL, status.st_blocks * 512)
