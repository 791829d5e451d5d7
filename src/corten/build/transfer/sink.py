"""A client's directory as its walk says it: what a transfer writes.

The file system is the record: what has the mode, size and time that the client says is not asked for again. A file gets
its time when all of it is here, so one that a transfer left half done is. Contents are hashed as they come, so that a
checksum of what a COPY brings need not read them again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat as modes
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from corten.build.transfer import walk as w
from corten.errors import Invalid, Unsupported
from corten.kernel import paths, xattr
from corten.layers import tree as trees
from corten.layers.sums import entry as sum_entry
from corten.spec.protobuf.session import Stat

_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTRIBUTES, _KEY, _VALUE = 100, 255, 1 << 16  # of a file, bytes of a name and of a value
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV)
_EMPTY = hashlib.sha256()


@dataclass(slots=True)
class _Pending:
    """A file whose content comes."""

    path: str
    mode: int
    modified: int
    size: int
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    fd: int = -1
    written: int = 0
    hash: hashlib._Hash = _EMPTY  # its own once there is content


class TreeSink:
    """`corten.build.transfer.receiving.Sink`: makes the directory at `path` what the walk says. `close` it at the end.

    Nothing else writes there, so a path whose parents the walk has said to be directories leads nowhere else.
    """

    def __init__(self, path: Path) -> None:
        self._root = os.open(path, _FLAGS)
        self._files: dict[int, _Pending] = {}
        self._levels: list[tuple[str, set[str]]] = [("", set(os.listdir(self._root)))]  # prefix, names not said yet
        self._directories: list[tuple[str, int]] = []
        self._links: list[tuple[str, str]] = []
        self._parent: tuple[str, int] = ("", os.dup(self._root))
        self.changed = False
        self.bytes = 0  # of all files, those that were here already among them
        self.sums = bytearray()

    def close(self) -> None:
        for pending in self._files.values():
            if pending.fd >= 0:
                os.close(pending.fd)
        self._files.clear()
        for fd in (self._root, self._parent[1]):
            os.close(fd)
        self._root, self._parent = -1, ("", -1)

    # ------------------------------------------------------------------------------------------------------ the walk

    def entry(self, number: int, stat: Stat) -> bool:
        prefix, _, name = stat.path.rpartition("/")
        fd = self._enter(prefix)
        there = self._levels[-1][1]
        old = os.stat(name, dir_fd=fd, follow_symlinks=False) if name in there else None
        there.discard(name)
        mode = w.permissions(stat.mode)
        if stat.mode & w.DIRECTORY:
            self._directory(fd, name, stat, mode, old)
        elif stat.mode & w.SYMLINK:
            self._symlink(fd, name, stat, old)
        elif stat.mode & w.FIFO:
            self._fifo(fd, name, stat, mode, old)
        elif stat.mode & w.TYPES:
            raise Unsupported(f"the context has {stat.path[:200]!r}, which is a device: leave it out by .dockerignore")
        elif stat.link:
            self._links.append((stat.path, stat.link))
            self._levels[-1][1].discard(name)
        else:
            self.bytes += max(0, stat.size)
            return self._file(number, fd, name, stat, mode, old)
        return False

    def _enter(self, prefix: str) -> int:
        """Leave the directories that are done, and have the parent at hand."""
        wanted = f"{prefix}/" if prefix else ""
        while not wanted.startswith(self._levels[-1][0]):
            self._leave()
        return self._at(prefix)

    def _at(self, prefix: str) -> int:
        if self._parent[0] != prefix or self._parent[1] < 0:
            fd = _open_beneath(self._root, prefix)
            os.close(self._parent[1])
            self._parent = prefix, fd
        return self._parent[1]

    def _leave(self) -> None:
        """What the walk has not said is no more."""
        prefix, names = self._levels.pop()
        if names:
            fd = _open_beneath(self._root, prefix.rstrip("/"))
            try:
                for name in names:
                    self._remove(fd, name)
            finally:
                os.close(fd)

    def _remove(self, fd: int, name: str) -> None:
        self.changed = True
        trees.remove(fd, os.fsencode(name))

    def _directory(self, fd: int, name: str, stat: Stat, mode: int, old: os.stat_result | None) -> None:
        names: set[str] = set()
        if old is not None and modes.S_ISDIR(old.st_mode):
            below = os.open(name, _FLAGS, dir_fd=fd)
            try:
                names = set(os.listdir(below))
                if modes.S_IMODE(old.st_mode) != mode:
                    os.fchmod(below, mode)
                    self.changed = True
            finally:
                os.close(below)
        else:
            self._make_way(fd, name, old)
            os.mkdir(name, 0o700, dir_fd=fd)
            below = os.open(name, _FLAGS, dir_fd=fd)
            try:
                os.fchmod(below, mode)
            finally:
                os.close(below)
        self._levels.append((stat.path + "/", names))
        self._directories.append((stat.path, stat.modified))

    def _make_way(self, fd: int, name: str, old: os.stat_result | None) -> None:
        self.changed = True
        if old is not None:
            trees.remove(fd, os.fsencode(name))

    def _symlink(self, fd: int, name: str, stat: Stat, old: os.stat_result | None) -> None:
        if "\0" in stat.link or not stat.link:
            raise Invalid(f"the context has {stat.path[:200]!r} as a link to {stat.link[:200]!r}")
        if old is not None and modes.S_ISLNK(old.st_mode) and os.readlink(name, dir_fd=fd) == stat.link:
            if old.st_mtime_ns == stat.modified:
                return
        else:
            self._make_way(fd, name, old)
            os.symlink(stat.link, name, dir_fd=fd)
        _set_time(fd, name, stat.modified)

    def _fifo(self, fd: int, name: str, stat: Stat, mode: int, old: os.stat_result | None) -> None:
        if old is not None and modes.S_ISFIFO(old.st_mode) and modes.S_IMODE(old.st_mode) == mode:
            return
        self._make_way(fd, name, old)
        os.mkfifo(name, mode, dir_fd=fd)
        os.chmod(name, mode, dir_fd=fd)  # whatever the umask is; it was made just now, and is no link
        _set_time(fd, name, stat.modified)

    def _file(self, number: int, fd: int, name: str, stat: Stat, mode: int, old: os.stat_result | None) -> bool:
        if (
            old is not None
            and modes.S_ISREG(old.st_mode)
            and (modes.S_IMODE(old.st_mode), old.st_size, old.st_mtime_ns) == (mode, stat.size, stat.modified)
        ):
            return False
        self._make_way(fd, name, old)
        self._files[number] = _Pending(stat.path, mode, stat.modified, stat.size)
        if stat.attributes:
            self.attributes(number, stat.attributes)
        return True

    def attributes(self, number: int, given: Mapping[str, bytes]) -> None:
        self._files[number].attributes = _attributes(self._files[number].path, given)

    # ---------------------------------------------------------------------------------------------------- the content

    def data(self, number: int, piece: bytes | memoryview) -> None:
        pending = self._files[number]
        if pending.fd < 0:
            self._create(pending)
        pending.hash.update(piece)
        pending.written += len(piece)
        while (count := os.write(pending.fd, piece)) < len(piece):
            piece = piece[count:]

    def _create(self, pending: _Pending) -> None:
        prefix, _, name = pending.path.rpartition("/")
        pending.fd = os.open(name, _NEW, 0o600, dir_fd=self._at(prefix))
        pending.hash = hashlib.sha256()

    def end(self, number: int) -> None:
        pending = self._files[number]
        if pending.fd < 0:
            self._create(pending)
        fd = pending.fd
        _set_attributes(fd, pending)
        os.fchmod(fd, pending.mode)
        if pending.written == pending.size:  # of another size: it changed meanwhile, and is asked for the next time
            os.utime(fd, ns=(pending.modified, pending.modified))
        self.sums += sum_entry(os.fstat(fd), pending.hash.digest(), not xattr.all_of(fd))
        os.close(fd)
        del self._files[number]

    def done(self) -> None:
        while self._levels:
            self._leave()
        for path, target in self._links:
            self._link(path, target)
        for path, modified in reversed(self._directories):
            prefix, _, name = path.rpartition("/")
            fd = self._at(prefix)
            # One that was not changed keeps its ctime, by which a COPY knows that it is what it was.
            if os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime_ns != modified:
                _set_time(fd, name, modified)

    def _link(self, path: str, target: str) -> None:
        try:
            self._linked(path, target)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            raise Invalid(
                f"the context has {path[:200]!r} as a link to {target[:200]!r}, which was not there"
            ) from None

    def _linked(self, path: str, target: str) -> None:
        prefix, _, name = target.rpartition("/")
        source = _open_beneath(self._root, prefix)
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if not modes.S_ISREG(status.st_mode):
                raise Invalid(f"the context has {path[:200]!r} as a link to {target[:200]!r}, which is no file")
            prefix, _, own = path.rpartition("/")
            fd = self._at(prefix)
            with suppress(FileNotFoundError):
                old = os.stat(own, dir_fd=fd, follow_symlinks=False)
                if (old.st_dev, old.st_ino) == (status.st_dev, status.st_ino):
                    return
                trees.remove(fd, os.fsencode(own))
            self.changed = True
            os.link(name, own, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(source)


def _open_beneath(root: int, path: str) -> int:
    resolve = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
    return paths.openat2(root, path or ".", _FLAGS, resolve=resolve)


def _attributes(path: str, given: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those that are kept. Raises Invalid for what no file can have (xattr(7))."""
    kept = {key: value for key, value in given.items() if _kept(key)}
    if len(kept) > _ATTRIBUTES:
        raise Invalid(f"{path[:200]!r} in the context has more than {_ATTRIBUTES} attributes")
    for key, value in kept.items():
        if "\0" in key or len(os.fsencode(key)) > _KEY or len(value) > _VALUE:
            raise Invalid(f"{path[:200]!r} in the context has the attribute {key[:100]!r}, which no file can have")
    return kept


def _set_attributes(fd: int, pending: _Pending) -> None:
    for key, value in pending.attributes.items():
        try:
            os.setxattr(fd, key, value)
        except OSError as error:
            problem = f"the attribute {key} cannot be set: {os.strerror(error.errno or 0)}"
            raise OSError(error.errno, problem, pending.path) from None


def _kept(key: str) -> bool:
    return key.startswith("user.") or key == "security.capability"


def _set_time(fd: int, name: str, modified: int) -> None:
    with suppress(OverflowError):  # no time of any file system: it keeps the one it has
        os.utime(name, ns=(modified, modified), dir_fd=fd, follow_symlinks=False)
