"""binfmt_misc: which interpreter the kernel starts for programs of another machine (admin-guide/binfmt-misc.rst).

Since Linux 6.7 every user namespace can have its own; one that has none uses its parent's. What is registered lasts as
long as the file system is mounted: a detached mount is enough, and its entries go with the last descriptor of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from corten.kernel import mount

_CONTROLS = ("register", "status")


class Entry(NamedTuple):
    """A registered format. `magic` and `mask` are of the same length, at `offset` in the file; `fixed`: the interpreter
    was opened when it was registered (F), so that a container needs no copy of it."""

    name: str
    enabled: bool
    interpreter: str
    fixed: bool
    offset: int
    magic: bytes
    mask: bytes

    def takes(self, head: bytes) -> bool:
        """Whether the kernel gives it a file that begins so, wherever it is started."""
        if not (self.enabled and self.fixed and self.magic) or self.offset:
            return False
        return all((a ^ b) & c == 0 for a, b, c in zip(head, self.magic, self.mask))


def mounted() -> int:
    """A detached mount of this user namespace's binfmt_misc. OSError: the kernel has none, or keeps it."""
    return mount.new("binfmt_misc")


def entries(fd: int) -> Iterator[Entry]:
    """Of the mount `fd`; none when all of them are switched off."""
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        names = os.listdir(directory)
    finally:
        os.close(directory)
    if _read(fd, "status").strip() != "enabled":
        return
    for name in names:
        if name not in _CONTROLS:
            try:
                yield entry(name, _read(fd, name))
            except FileNotFoundError:  # removed meanwhile
                continue


def entry(name: str, text: str) -> Entry:
    """What an entry's file says."""
    lines = text.splitlines()
    said = dict(line.partition(" ")[::2] for line in lines)
    magic = bytes.fromhex(said.get("magic", ""))
    mask = bytes.fromhex(said["mask"]) if "mask" in said else b"\xff" * len(magic)
    fixed = "F" in said.get("flags:", "")
    enabled = lines[:1] == ["enabled"]
    return Entry(name, enabled, said.get("interpreter", ""), fixed, int(said.get("offset", "0")), magic, mask)


def line(name: str, magic: bytes, mask: bytes, interpreter: str) -> str:
    """What is written to register a format. The interpreter is opened now (F), runs with the rights of the program (OC:
    su and sudo work), and gets the name that the program was called by (P)."""
    escaped = ["".join(f"\\x{byte:02x}" for byte in text) for text in (magic, mask)]
    return f":{name}:M::{escaped[0]}:{escaped[1]}:{interpreter}:OCFP"


def hold(lines: Iterable[str]) -> int:
    """A mount with these registered. They go when the last such descriptor is closed."""
    fd = mounted()
    try:
        for text in lines:
            _register(fd, text)
    except OSError as error:
        os.close(fd)
        raise OSError(error.errno, f"cannot register an interpreter with binfmt_misc: {error.strerror}") from error
    return fd


def _register(fd: int, text: str) -> None:
    control = os.open("register", os.O_WRONLY | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.write(control, text.encode())
    except FileExistsError:  # by another process that holds it as well
        pass
    finally:
        os.close(control)


def _read(fd: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd)
    try:
        return os.read(file, 4096).decode(errors="replace")
    finally:
        os.close(file)
