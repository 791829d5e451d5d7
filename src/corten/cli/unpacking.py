"""Unpacking a tar that an engine sent, on descriptors: a hostile one stays below its target (CVE-2026-17106).

Every entry is one name in a directory that was opened component by component, links never followed. What the user
named as target may be reached through links; what is unpacked below it may not.
"""

from __future__ import annotations

import os
import stat

from corten.cli.errors import CommandError
from corten.errors import Corrupt, Invalid
from corten.layers.entries import Entry, Limits, entries
from corten.layers.header import DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from corten.layers.source import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMITS = Limits(bytes=1 << 62, file=1 << 62)  # the disk is the user's, and so is the copy


class Parts:
    """An iterator of bytes that fills buffers. `total` counts what was read."""

    def __init__(self, parts: Iterator[bytes | bytearray | memoryview]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")
        self.total = 0

    def fill(self, buffer: memoryview) -> int:
        while not self._rest and (part := next(self._parts, None)) is not None:
            self._rest = memoryview(part)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self.total += count
        return count


def unpack(parts: Parts, directory: str, base: str, name: str, owners: bool) -> None:
    """Put what the tar calls `base` into `directory` under `name` ("": its content goes into the directory itself)."""
    source = Source(parts.fill)
    target = _Target(source, directory, os.fsencode(base), os.fsencode(name), owners)
    try:
        for entry in entries(source, _LIMITS):
            target.place(entry)
        source.drain()  # an error at its end cuts the answer short behind the archive
    except (Corrupt, Invalid) as error:
        raise CommandError(f"the engine sent no proper archive: {error}") from error
    finally:
        target.close()


class _Target:
    """The directory that is unpacked into. The last one that something was put in stays open for what comes next."""

    def __init__(self, source: Source, directory: str, base: bytes, name: bytes, owners: bool) -> None:
        self._source = source
        self._base, self._name, self._owners = base, name, owners
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._last: list[bytes] = []
        self._last_fd = self._root

    def close(self) -> None:
        self._keep([], self._root)
        os.close(self._root)

    def place(self, entry: Entry) -> None:
        parts = self._moved(entry.name)
        if not parts:
            return
        try:
            if parts[:-1] != self._last:
                self._keep(parts[:-1], self._open(parts[:-1]))
            self._make(entry, self._last_fd, parts[-1])
        except OSError as error:
            shown = os.fsdecode(b"/".join(parts))
            raise CommandError(f"cannot write {shown}: {(error.strerror or str(error)).lower()}") from error

    def _moved(self, path: bytes) -> list[bytes] | None:
        """The components that an entry gets; [] is the directory itself, None what does not belong to the source."""
        parts = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise CommandError(f"the archive has an entry that leaves its directory: {os.fsdecode(path[:200])!r}")
        if self._base:
            if parts[:1] != [self._base]:
                return None
            parts = parts[1:]
        return [self._name, *parts] if self._name else parts

    def _keep(self, parts: list[bytes], fd: int) -> None:
        if self._last_fd != self._root:
            os.close(self._last_fd)
        self._last, self._last_fd = parts, fd

    def _open(self, parts: list[bytes]) -> int:
        """A directory below; the root itself, not a copy, when there are no parts."""
        here = self._root
        for part in parts:
            try:
                below = os.open(part, _DIRECTORY, dir_fd=here)
            finally:
                if here != self._root:
                    os.close(here)
            here = below
        return here

    def _make(self, entry: Entry, parent: int, name: bytes) -> None:
        if entry.type == REGULAR:
            self._file(entry, parent, name)
            return
        if entry.type == DIRECTORY:
            _directory(entry, parent, name)
        elif entry.type in (SYMLINK, LINK, FIFO):  # devices mean something on the other machine only
            _clear(parent, name)
            if entry.type == SYMLINK:
                os.symlink(entry.link, name, dir_fd=parent)
            elif entry.type == FIFO:
                os.mkfifo(name, entry.mode, dir_fd=parent)
            else:
                self._link(entry, parent, name)
        else:
            return
        if self._owners and entry.type != LINK:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)

    def _link(self, entry: Entry, parent: int, name: bytes) -> None:
        target = self._moved(entry.link) or [b""]
        above = self._open(target[:-1])
        try:
            os.link(target[-1], name, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            if above != self._root:
                os.close(above)

    def _file(self, entry: Entry, parent: int, name: bytes) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        except FileExistsError:
            _clear(parent, name)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
        try:
            for offset, length in entry.parts or ((0, entry.size),):
                if offset:
                    os.lseek(fd, offset, os.SEEK_SET)
                self._source.copy(fd, length)
            if entry.parts is not None:
                os.ftruncate(fd, entry.real)
            if self._owners:
                os.fchown(fd, entry.uid, entry.gid)  # before the mode: it takes the set-user-ID bit away
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)


def _clear(parent: int, name: bytes) -> None:
    """What is in the way; a directory is not."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass


def _directory(entry: Entry, parent: int, name: bytes) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        pass  # what is no directory is refused by the next line
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        os.fchmod(fd, entry.mode | stat.S_IRWXU)
    finally:
        os.close(fd)
