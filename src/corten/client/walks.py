"""What a client says of its directories, and the contents that are asked for: answers to the question `walk`.

A file that has not changed costs one stat(2). Names of a directory are said by their bytes, a directory before what is
in it; nothing is looked at through a link, also where one takes a directory's place meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque

from corten.client.beneath import Beneath
from corten.spec import build_frames as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from corten.client.following import Wanted
    from corten.spec.dockerfile.ignore import Patterns

    Rows = Iterator[tuple[bytes, str]]  # a row of ENTRIES, and the path

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_ATTRIBUTES = ("user.", "security.capability")


class Directory:
    """`key` names it, so that the daemon finds what it has of it."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.key = f"{os.uname().nodename}:{os.getuid()}:{self.path}"

    def walk(self, follow: Sequence[str], exclude: Sequence[str]) -> Walk:
        wanted: Wanted = None
        if follow:
            from corten.client import following

            wanted = following.tree(self.path, follow)
        excludes = None
        if exclude:
            from corten.spec.dockerfile.ignore import Patterns

            excludes = Patterns(exclude)
        beneath = Beneath(self.path)
        return Walk(_rows(beneath, wanted, excludes), beneath.open, beneath.close)


class Given:
    """Files that are in memory, by name; the daemon keeps none of them."""

    key = ""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def walk(self, follow: Sequence[str], exclude: Sequence[str]) -> Walk:
        found = sorted(os.fsencode(name) for name in self._files if not follow or name in follow)
        rows = (
            (f.entry(stat.S_IFREG | 0o644, len(self._files[os.fsdecode(name)]), 0, name), os.fsdecode(name))
            for name in found
        )
        return Walk(rows, self._open)

    def _open(self, path: str) -> int:
        fd = os.memfd_create("corten-given", os.MFD_CLOEXEC)
        view = memoryview(self._files[path])
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return fd


class Walk:
    """An answer: rows, and then the files that are wanted of them."""

    fd = -1

    def __init__(self, rows: Rows, open: Callable[[str], int], closed: Callable[[], None] = lambda: None) -> None:
        self._rows: Rows | None = rows
        self._open, self._closed = open, closed
        self._paths: list[str] = []
        self._wanted: deque[int] = deque()
        self._file = -1
        self._number = 0

    def next(self) -> tuple[int, bytes] | None:
        if self._rows is not None:
            return self._listed(self._rows)
        if self._file >= 0:
            return self._piece()
        return self._begun() if self._wanted else None

    def _listed(self, rows: Rows) -> tuple[int, bytes]:
        batch, size, paths = [], 0, self._paths
        for row, path in rows:
            batch.append(row)
            paths.append(path)
            size += len(row)
            if size >= f.BATCH:
                break
        if batch:
            return f.ENTRIES, b"".join(batch)
        self._rows = None
        return f.END, b""

    def _begun(self) -> tuple[int, bytes]:
        self._number = self._wanted.popleft()
        self._file = self._open(self._paths[self._number])
        attributes = _attributes(self._file)
        return (f.ATTRIBUTES, f.numbered(self._number, attributes)) if attributes else self._piece()

    def _piece(self) -> tuple[int, bytes]:
        data = os.read(self._file, f.PIECE)
        if len(data) == f.PIECE:
            return f.PART, f.numbered(self._number, data)
        os.close(self._file)
        self._file = -1
        return f.FILE, f.numbered(self._number, data)

    def take(self, kind: int, data: bytes) -> None:
        if kind == f.WANTED:
            self._wanted.extend(number for number in f.numbers(data) if number < len(self._paths))

    def end(self) -> tuple[int, bytes] | None:
        return None

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._closed()


def _attributes(fd: int) -> bytes:
    try:
        names = os.listxattr(fd)
        kept = [name for name in names if name.startswith(_ATTRIBUTES)]
        return b"".join(f.attribute(os.fsencode(name), os.getxattr(fd, name)) for name in kept)
    except OSError:  # of a file system that has none
        return b""


# ---------------------------------------------------------------------------------------------------------- the walk


class _Level:
    """A directory that is gone through. `inside` are its files: path, status, whether it is excluded, what is wanted in
    it."""

    __slots__ = ("inside", "path")

    def __init__(self, path: str, inside: list[tuple[str, os.stat_result, bool, Wanted]]) -> None:
        self.path = path
        self.inside = iter(inside)


def _rows(beneath: Beneath, wanted: Wanted, excludes: Patterns | None) -> Rows:
    links: dict[tuple[int, int], bytes] = {}
    held: list[tuple[bytes, str]] = []  # excluded directories: said once something in them is
    levels = [_Level("", _inside(beneath, "", wanted, excludes))]
    while levels:
        for path, status, excluded, below in levels[-1].inside:
            row = _row(beneath, path, status, links)
            if row is None:
                continue
            if excluded:
                held.append((row, path))
            else:
                yield from held
                held.clear()
                yield row, path
            if stat.S_ISDIR(status.st_mode):
                levels.append(_Level(path, _inside(beneath, f"{path}/", below, excludes)))
                break
        else:
            left = levels.pop()
            if held and held[-1][1] == left.path:
                held.pop()


def _inside(
    beneath: Beneath, prefix: str, wanted: Wanted, excludes: Patterns | None
) -> list[tuple[str, os.stat_result, bool, Wanted]]:
    try:
        fd = beneath.listing(prefix[:-1])
    except OSError as error:
        if prefix and error.errno in _GONE:
            return []
        raise
    try:
        if wanted is not None:
            return _chosen(fd, prefix, wanted, excludes)
        with os.scandir(fd) as found:
            entries = sorted(found, key=_by_name)
        if excludes is None:
            return [
                (prefix + each.name, status, False, None) for each in entries if (status := _status(each)) is not None
            ]
        rows = (_unless_excluded(each, prefix, excludes) for each in entries)
        return [row for row in rows if row is not None]
    finally:
        os.close(fd)


def _by_name(entry: os.DirEntry[str]) -> bytes:
    return entry.name.encode("utf-8", "surrogateescape")


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # removed since
        return None


def _unless_excluded(
    entry: os.DirEntry[str], prefix: str, excludes: Patterns
) -> tuple[str, os.stat_result, bool, Wanted] | None:
    path = prefix + entry.name
    excluded = excludes.excludes(path)
    if excluded and not (excludes.take_back and entry.is_dir(follow_symlinks=False)):
        return None
    status = _status(entry)
    return (path, status, excluded, None) if status is not None else None


def _chosen(
    fd: int, prefix: str, wanted: dict[str, Wanted], excludes: Patterns | None
) -> list[tuple[str, os.stat_result, bool, Wanted]]:
    found = []
    for name in sorted(wanted, key=os.fsencode):
        path = prefix + name
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                continue
            raise
        excluded = excludes is not None and excludes.excludes(path)
        if not excluded or (excludes is not None and excludes.take_back and stat.S_ISDIR(status.st_mode)):
            found.append((path, status, excluded, wanted[name]))
    return found


def _row(beneath: Beneath, path: str, status: os.stat_result, links: dict[tuple[int, int], bytes]) -> bytes | None:
    """None for a socket, and for what is gone."""
    mode, name, link = status.st_mode, path.encode("utf-8", "surrogateescape"), b""
    if stat.S_ISREG(mode):
        if status.st_nlink > 1:
            link = links.setdefault((status.st_dev, status.st_ino), name)
            link = b"" if link is name else link
        return f.entry(mode, status.st_size, status.st_mtime_ns, name, link)
    if stat.S_ISSOCK(mode):
        return None
    if stat.S_ISLNK(mode):
        try:
            link = os.fsencode(beneath.readlink(path))
        except OSError as error:
            if error.errno in (*_GONE, errno.EINVAL):
                return None
            raise
    return f.entry(mode, 0, status.st_mtime_ns, name, link)
