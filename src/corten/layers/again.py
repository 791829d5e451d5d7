"""A tar of plain files, applied to the tree that an earlier one has left: what is as it was stays.

A file stays when it looks as its entry says and has its content, byte by byte. It keeps its inode and its times then,
by which what is known of it is known still (`layers.sums`, `layers.earlier`). Everything else is made anew, and what
the tar does not name is removed.

That is so as long as the directory of each entry was said before, and no name comes twice. With the first entry of
which that is not true, what was not named is removed at once, and the rest is applied as to a tree that began empty.
"""

from __future__ import annotations

import os
import stat

from corten.kernel import xattr
from corten.layers import attributes, tree
from corten.layers import header as tar
from corten.layers.apply import Applying, Taken, clean
from corten.layers.content import write
from corten.layers.directories import Place, link
from corten.layers.entries import Entry
from corten.layers.pack import open_file

_AT_ONCE = 1 << 17  # bytes of a content that are compared at once


class ApplyingAgain(Applying):
    """What was there before is known while `_named` is."""

    _named: dict[bytes, set[bytes]] | None = None  # what was said of each directory; None: as to an empty tree
    _begun: tuple[int, int, bytes] | None = None  # of a content that has come: its first bytes in a file, and more

    def begin(self) -> None:
        self._named = {b"": set()}
        for key in attributes.travelling(xattr.all_of(self._root)):
            os.removexattr(self._root, key)

    def _add(self, entry: Entry) -> None:
        parts = clean(entry.name, self._limits.path)
        if self._named is None or not parts:
            super()._add(entry)
            return
        self._directories.trim()
        name = parts.pop()
        parent = b"/".join(parts)
        names = self._named.get(parent)
        if names is None or name in names or (entry.type == tar.LINK and not self._is_named(entry.link)):
            self._end()
            super()._add(entry)
            return
        names.add(name)
        place = self._directories.find(parent)
        if entry.type == tar.DIRECTORY:
            self._named[place.path(name)] = set()
        if self._stays(place, name, entry):
            self._count()
            return
        super()._add(entry)
        self._drop()

    def finish(self) -> None:
        if self._named is not None:
            self._end()
        super().finish()

    def close(self) -> None:
        self._drop()
        super().close()

    def _is_named(self, path: bytes) -> bool:
        parts = clean(path, self._limits.path)
        return bool(parts) and self._named is not None and parts[-1] in self._named.get(b"/".join(parts[:-1]), ())

    def _end(self) -> None:
        """What was not named is no more."""
        named, self._named = self._named or {}, None
        for path, names in named.items():
            self._directories.trim()
            fd = tree.open_directory(b".", self._directories.find(path).fd)
            try:
                for name in set(tree.names(fd)) - names:
                    tree.remove(fd, name)
            finally:
                os.close(fd)
        self._directories.changed()

    def _stays(self, place: Place, name: bytes, entry: Entry) -> bool:
        """False when it is to be made; nothing is in its place then."""
        try:
            old = os.stat(name, dir_fd=place.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        looks = (stat.S_IMODE(old.st_mode), old.st_uid, old.st_gid) == (entry.mode & 0o7777, entry.uid, entry.gid)
        if entry.type == tar.DIRECTORY and stat.S_ISDIR(old.st_mode):
            if looks and not entry.xattrs and self._directory_stays(place, name):
                self.implied.pop(place.path(name), None)
                self._times[place.path(name)] = entry.mtime
                return True
        elif entry.type == tar.REGULAR and stat.S_ISREG(old.st_mode):
            same = (old.st_size, old.st_mtime_ns, old.st_nlink) == (entry.size, entry.mtime, 1)
            if looks and same and entry.parts is None and not entry.xattrs and self._content_stays(place, name, entry):
                self.size += entry.size
                return True
        elif entry.type == tar.SYMLINK and stat.S_ISLNK(old.st_mode) and not entry.xattrs:
            owner = (old.st_uid, old.st_gid) == (entry.uid, entry.gid)
            if owner and old.st_mtime_ns == entry.mtime and link(place.fd, name) == entry.link:
                self.size += len(entry.link)
                return True
        tree.remove(place.fd, name)
        if stat.S_ISDIR(old.st_mode):
            self._directories.changed()
        return False

    def _directory_stays(self, place: Place, name: bytes) -> bool:
        fd = tree.open_directory(name, place.fd)
        try:
            return not os.listxattr(fd)
        finally:
            os.close(fd)

    def _content_stays(self, place: Place, name: bytes, entry: Entry) -> bool:
        """Whether the file has what comes. If not, what has come of it is in `_begun`."""
        fd, at = open_file(place.fd, name), 0
        try:
            if os.listxattr(fd):
                return False
            while at < entry.size:  # of a header, whose bounds were looked at
                piece = self._source.exactly(min(_AT_ONCE, entry.size - at))
                if os.pread(fd, len(piece), at) != piece:
                    self._begun, fd = (fd, at, piece), -1
                    return False
                at += len(piece)
            return True
        finally:
            if fd >= 0:
                os.close(fd)

    def _fill(self, fd: int, entry: Entry, taken: Taken | None) -> None:
        if self._begun is None:
            super()._fill(fd, entry, taken)
            return
        begun, at, piece = self._begun
        for data in (*(os.pread(begun, min(_AT_ONCE, at - here), here) for here in range(0, at, _AT_ONCE)), piece):
            write(fd, data)
            if taken is not None:
                taken(memoryview(data))
        self._source.copy(fd, entry.size - at - len(piece), taken)

    def _drop(self) -> None:
        if self._begun is not None:
            os.close(self._begun[0])
            self._begun = None
