"""Writing cpio archives of the "newc" kind, which Linux unpacks at boot (initramfs). Several may follow one another."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class Archive:
    """Entries go out as they come. Parents of a path are made when they are first needed."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._inode = 0
        self._seen: set[str] = set()

    def _entry(
        self, name: str, mode: int, content: bytes = b"", mtime: int = 0, device: tuple[int, int] = (0, 0)
    ) -> None:
        self._inode += 1
        raw = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, mtime, len(content), 0, 0, *device, len(raw), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._out.write(head + raw + b"\0" * (-(len(head) + len(raw)) % 4))
        self._out.write(content + b"\0" * (-len(content) % 4))
        self._seen.add(name)

    def _parents(self, name: str) -> None:
        parent = os.path.dirname(name)
        if parent and parent not in self._seen:
            self.directory(parent)

    def directory(self, path: str) -> None:
        name = path.strip("/")
        if name and name not in self._seen:
            self._parents(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, path: str, content: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        name = path.strip("/")
        if name not in self._seen:
            self._parents(name)
            self._entry(name, stat.S_IFREG | mode, content, mtime)

    def link(self, path: str, target: str) -> None:
        name = path.strip("/")
        if name not in self._seen:
            self._parents(name)
            self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int) -> None:
        self._parents(path.strip("/"))
        self._entry(path.strip("/"), stat.S_IFCHR | 0o600, device=(major, minor))

    def copy(self, path: str, source: Path, skip: frozenset[str] = frozenset()) -> None:
        """A file, or a tree without what is named in `skip`; links are followed. Times are kept: Python compares a
        source's with the one in its compiled file."""
        if source.is_dir():
            self.directory(path)
            for child in sorted(source.iterdir()):
                if child.name not in skip:
                    self.copy(f"{path}/{child.name}", child, skip)
        else:
            status = source.stat()
            self.file(path, source.read_bytes(), stat.S_IMODE(status.st_mode), int(status.st_mtime))

    def end(self) -> None:
        self._entry("TRAILER!!!", 0)
