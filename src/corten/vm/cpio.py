"""Archives of the kind "newc", which Linux unpacks at boot (initramfs, Documentation/driver-api/early-userspace).

    archive = Archive(file)
    archive.file("/init", b"...", 0o755)     # its parents are made when they are first needed
    archive.end()

The same calls make the same bytes: no inode, no owner and, unless it is given, no time of this machine is in it.
Nothing here needs root.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


class Archive:
    """Entries go out as they come; the second one of a name is left out."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._inode = 0
        self._seen: set[str] = set()

    def directory(self, path: str) -> None:
        self._once(path, stat.S_IFDIR | 0o755)

    def file(self, path: str, content: bytes, mode: int = 0o644, mtime: int = 0) -> None:
        self._once(path, stat.S_IFREG | mode, content, mtime=mtime)

    def link(self, path: str, target: str) -> None:
        self._once(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def device(self, path: str, major: int, minor: int) -> None:
        """A character device for root alone."""
        self._once(path, stat.S_IFCHR | 0o600, device=(major, minor))

    def end(self) -> None:
        """The entry behind which nothing is read."""
        self._entry("TRAILER!!!", 0)

    def _once(
        self, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0), mtime: int = 0
    ) -> None:
        name = path.strip("/")
        if name and name not in self._seen:
            self.directory(os.path.dirname(name))
            self._entry(name, mode, content, device, mtime)

    def _entry(
        self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0), mtime: int = 0
    ) -> None:
        self._inode += 1
        self._seen.add(name)
        raw = os.fsencode(name) + b"\0"
        fields = (self._inode, mode, 0, 0, 1, mtime, len(content), 0, 0, *device, len(raw), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._out.write(head + raw + bytes(-(len(head) + len(raw)) % 4))
        self._out.write(content)
        self._out.write(bytes(-len(content) % 4))
