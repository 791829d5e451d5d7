"""What a COPY names in a tree: paths and patterns to things, and the walk over a directory without what is left out.

Trees may be hostile: nothing recurses, every step is (directory descriptor, one component), links are followed inside
the tree only, and only where they were named.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import Any, Literal

from corten.errors import Invalid, NotFound
from corten.kernel import paths
from corten.layers import tree
from corten.layers.limits import LONGEST_PATH, quoted
from corten.spec.dockerfile import glob
from corten.spec.dockerfile.ignore import Patterns

_SEEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_REFUSED = (errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL, errno.EACCES)


def clean(path: str) -> str:
    """A path of the client's, relative to the tree's root, where `..` ends; "." for the root itself."""
    return posixpath.normpath("/" + path).lstrip("/") or "."


def hits(root: int, pattern: str) -> list[bytes]:
    """The names that a path or a pattern means, sorted. A path without wildcards means itself, whether it is there or
    not; below the first wildcard no link is followed."""
    path = clean(pattern)
    if not glob.is_pattern(path):
        return [os.fsencode(glob.unescaped(path))]
    try:
        parts = glob.names(path)
    except ValueError as error:
        raise Invalid(str(error)) from None
    found, follow = [b""], True
    for part in parts:
        if part.literal is not None and follow:
            found = [
                above + b"/" + os.fsencode(part.literal) if above else os.fsencode(part.literal) for above in found
            ]
            continue
        found = [name for above in found for name in _matching(root, above, part, follow)]
        follow = False
    return found


def _matching(root: int, above: bytes, part: glob.Name, follow: bool) -> list[bytes]:
    resolve = paths.RESOLVE_IN_ROOT if follow else paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_SYMLINKS
    try:
        fd = paths.openat2(root, above or b".", _DIRECTORY, 0, resolve | paths.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, *_REFUSED):
            return []
        raise
    try:
        names = tree.names(fd)
    finally:
        os.close(fd)
    prefix = above + b"/" if above else b""
    return [prefix + name for name in names if part.matches(os.fsdecode(name))]


def pivoted(pattern: str) -> tuple[str, Patterns]:
    """For `--parents`: the directory that paths are kept below, and what is wanted in it. In "a/./b" that is "a"."""
    above, _, below = pattern.rpartition("/./")
    return clean(above), Patterns(["\\" + path if (path := clean(below)).startswith("!") else path])


def opened(root: int, name: bytes) -> int:
    """An O_PATH descriptor of what was named, links followed inside the tree. NotFound in BuildKit's words, Invalid."""
    try:
        return paths.open_in(root, name)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(missing(os.fsdecode(name))) from None
    except OSError as error:
        if error.errno in _REFUSED:
            raise Invalid(f"cannot open {quoted(name)}: {os.strerror(error.errno)}") from None
        raise


def missing(name: str) -> str:
    return f'"/{name.lstrip("/")}": not found'


def base(name: bytes) -> bytes:
    return name.rpartition(b"/")[2]


# --------------------------------------------------------------------------------------------------------------- walk


class Level:
    """A directory that the walk is in. `place` is for what the caller makes of it."""

    __slots__ = ("above", "fd", "name", "names", "place", "prefix", "status")  # no dataclass: see tests/unit/supervisor

    def __init__(
        self, fd: int, status: os.stat_result, above: Level | None, name: bytes, prefix: str, names: Iterator[bytes]
    ) -> None:
        self.fd = fd
        self.status = status
        self.above = above
        self.name = name
        self.prefix = prefix
        self.names = names
        self.place: Any = None


What = Literal["thing", "in", "out"]


class Step:
    """ "thing": one that is no directory, in `level`. "in" and "out": of the directory `level`. `path` is relative to
    where the walk began."""

    __slots__ = ("_held", "level", "name", "path", "status", "what")  # no dataclass: see tests/unit/supervisor

    def __init__(self, what: What, level: Level, name: bytes, status: os.stat_result, path: str) -> None:
        self.what = what
        self.level = level
        self.name = name
        self.status = status
        self.path = path
        self._held = -1

    @property
    def seen(self) -> int:
        """A descriptor of it, the walk's; of a thing by O_PATH. Raises Invalid for what was exchanged meanwhile."""
        if self.what != "thing":
            return self.level.fd
        if self._held < 0:
            self._held = os.open(self.name, _SEEN, dir_fd=self.level.fd)
            if stat.S_IFMT(os.fstat(self._held).st_mode) != stat.S_IFMT(self.status.st_mode):
                raise Invalid(f"changed while it was read: {quoted(os.fsencode(self.path))}")
        return self._held

    def close(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def walk(top: int, exclude: Patterns, wanted: Patterns | None = None) -> Iterator[Step]:
    """Everything below the directory `top` that is `wanted` (None: everything) and not excluded, names sorted.

    Of a directory that is left out there is no "in", but an "out" when there may be something in it that is not.
    Descriptors are the walk's. Raises Invalid for paths that are too long.
    """
    levels = [_level(os.open(".", _DIRECTORY | os.O_CLOEXEC, dir_fd=top), None, b"", "")]
    try:
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                yield Step("out", level, level.name, level.status, level.prefix.rstrip("/"))
                os.close(levels.pop().fd)
                continue
            try:
                status = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed since it was listed
            path = level.prefix + os.fsdecode(name)
            if len(path) > LONGEST_PATH:
                raise Invalid(f"path is too long: {quoted(os.fsencode(path))}")
            left_out = exclude.excludes(path) or (wanted is not None and not wanted.excludes(path))
            if not stat.S_ISDIR(status.st_mode):
                if not left_out:
                    step = Step("thing", level, name, status, path)
                    try:
                        yield step
                    finally:
                        step.close()
            elif not left_out or _may_hold(path, exclude, wanted):
                below = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=level.fd)
                levels.append(_level(below, level, name, path + "/"))
                if not left_out:
                    yield Step("in", levels[-1], name, levels[-1].status, path)
    finally:
        for level in levels:
            os.close(level.fd)


def _may_hold(path: str, exclude: Patterns, wanted: Patterns | None) -> bool:
    """Whether there may be something in a directory that is left out itself."""
    return exclude.take_back if exclude.excludes(path) else wanted is not None


def _level(fd: int, above: Level | None, name: bytes, prefix: str) -> Level:
    """Of a directory that was opened, which is closed on an error."""
    try:
        return Level(fd, os.fstat(fd), above, name, prefix, iter(tree.names(fd)))
    except BaseException:
        os.close(fd)
        raise
