"""Unpacking a tar that an engine sent, on descriptors: a hostile one stays below its target (CVE-2026-17106).

Every entry is one name in a directory that was opened component by component, links never followed. What the user
named as target may be reached through links; what is unpacked below it may not.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 18


class Parts(io.RawIOBase):
    """An iterator of bytes as a file. `total` counts what was read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        self._rest = memoryview(b"")
        self.total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and (part := next(self._parts, None)) is not None:
            self._rest = memoryview(part)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        self.total += count
        return count


def unpack(source: Parts, directory: str, base: str, name: str, owners: bool) -> None:
    """Put what the tar calls `base` into `directory` under `name` ("": its content goes into the directory itself)."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=_BLOCK, errorlevel=2) as tar:
            for member in tar:
                path = _moved(member.name, base, name)
                if path is not None:
                    _place(tar, member, root, path, base, name, owners)
    except tarfile.TarError as error:
        raise CommandError(f"the engine sent no proper archive: {error}") from error
    finally:
        os.close(root)


def _moved(path: str, base: str, name: str) -> list[str] | None:
    """The components that an entry gets; [] is the directory itself, None what does not belong to the source."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise CommandError(f"the archive has an entry that leaves its directory: {path[:200]!r}")
    if base:
        if parts[:1] != [base]:
            return None
        parts = parts[1:]
    return [name, *parts] if name else parts


def _place(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: int, parts: list[str], base: str, name: str, owners: bool
) -> None:
    if not parts:
        return
    try:
        parent = _open(root, parts[:-1])
        try:
            _make(tar, member, root, parent, parts[-1], base, name)
            if owners:
                os.chown(parts[-1], member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)
    except OSError as error:
        raise CommandError(f"cannot write {'/'.join(parts)}: {(error.strerror or str(error)).lower()}") from error


def _open(root: int, parts: list[str]) -> int:
    here = os.dup(root)
    for part in parts:
        try:
            below = os.open(part, _DIRECTORY, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


def _make(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: int, parent: int, name: str, base: str, top: str
) -> None:
    mode = stat.S_IMODE(member.mode)
    if member.isdir():
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            pass  # what is no directory is refused by the next line
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        os.fchmod(fd, mode | stat.S_IRWXU)
        os.close(fd)
        return
    if not (member.isreg() or member.issym() or member.islnk() or member.isfifo()):
        return  # devices mean something on the other machine only
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    if member.issym():
        os.symlink(member.linkname, name, dir_fd=parent)
    elif member.islnk():
        target = _moved(member.linkname, base, top) or [""]
        above = _open(root, target[:-1])
        os.link(target[-1], name, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
        os.close(above)
    elif member.isfifo():
        os.mkfifo(name, mode, dir_fd=parent)
    else:
        _file(tar.extractfile(member), member, parent, name, mode)


def _file(data: IO[bytes] | None, member: tarfile.TarInfo, parent: int, name: str, mode: int) -> None:
    fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent)
    with os.fdopen(fd, "wb") as file:
        while data is not None and (piece := data.read(_BLOCK)):
            file.write(piece)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.utime(file.fileno(), (member.mtime, member.mtime))
