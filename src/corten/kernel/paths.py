"""Paths below a root that other processes control: openat2(2), and what is built on it.

A path string is never used on such a tree. `open_in` resolves one inside `root` as if root were `/` (absolute and
`..` links stay inside, magic links are refused) and the answer is a file descriptor, which is what one then works
with: a name that was resolved safely can be exchanged a moment later, a descriptor cannot.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time

from corten.kernel import descriptors
from corten.kernel import syscall as sys

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_RACE_DEADLINE = 0.05  # seconds; a rename that races a `..` gives EAGAIN, three in a row is the most ever seen
_MAX_LINKS = 40  # as the kernel


def openat2(dirfd: int, path: bytes | str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2). Returns a descriptor that is closed on exec. EAGAIN is retried for at most 50 ms."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    raw = os.fsencode(path)
    deadline = 0.0
    while True:
        try:
            return sys.syscall("openat2", sys.SYS_openat2, dirfd, raw, how, len(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            now = time.monotonic()
            deadline = deadline or now + _RACE_DEADLINE
            if now > deadline:
                raise


def open_in(root: int, path: bytes | str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open `path` inside the tree at descriptor `root`, as the tree's own processes would, and never outside it."""
    raw = os.fsencode(path).lstrip(b"/") or b"."
    return openat2(root, raw, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_without_links(root: int, path: bytes | str) -> int:
    """The same, of a path as it stands: OSError (ELOOP) for a link on the way."""
    return openat2(root, os.fsencode(path).lstrip(b"/"), os.O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)


def make_directories(root: int, path: bytes | str, mode: int = 0o755, owner: tuple[int, int] | None = None) -> int:
    """`mkdir -p` of `path` inside `root`, following links that stay inside; returns a descriptor of the last.

    New directories, the `owner`'s or the caller's, are made one component at a time in a directory that is held open,
    so an exchange of a parent for a link cannot move them. What a dangling link leads to is made as well, inside
    (images have them: /etc/resolv.conf).
    Raises NotADirectoryError when a component is something else, FileNotFoundError for ".." below what is not there.
    """
    for _ in range(_MAX_LINKS):
        parts = [p for p in os.fsencode(path).split(b"/") if p not in (b"", b".")]
        here, rest = _deepest(root, parts)
        while rest:
            try:
                below, link = _make_one(here, rest[0], mode, owner)
            finally:
                os.close(here)
            if link is not None:  # once more, along it
                done = parts[: len(parts) - len(rest)]
                path = b"/".join((*(() if link.startswith(b"/") else done), link, *rest[1:]))
                break
            here, rest = below, rest[1:]
        else:
            return here
    raise OSError(errno.ELOOP, f"{os.strerror(errno.ELOOP)}: {os.fsdecode(path)!r}")


def make_public(path: os.PathLike[str] | str) -> None:
    """`mkdir -p` of a path of the host's own; others may enter what had to be made (0755), whatever the umask is."""
    if not os.path.isdir(path):
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(make_directories(root, os.path.abspath(path)))
        finally:
            os.close(root)


def _deepest(root: int, parts: list[bytes]) -> tuple[int, list[bytes]]:
    """A descriptor of the deepest directory that exists, links followed inside the root, and what is below it."""
    for length in range(len(parts), -1, -1):
        try:
            return open_in(root, b"/".join(parts[:length]), os.O_PATH | os.O_DIRECTORY), parts[length:]
        except FileNotFoundError:
            if length == 0:
                raise
    raise FileNotFoundError(errno.ENOENT, "no root")


def _make_one(here: int, part: bytes, mode: int, owner: tuple[int, int] | None = None) -> tuple[int, bytes | None]:
    """A descriptor of the directory `part`, made when it is missing; or (-1, where the link of that name leads)."""
    if part == b"..":
        raise FileNotFoundError(errno.ENOENT, f"{os.strerror(errno.ENOENT)}: '..' below a directory that is not there")
    try:
        os.mkdir(part, mode, dir_fd=here)
        made = True
    except FileExistsError:
        made = False
    try:  # not O_PATH: fchmod needs a real descriptor, and there may be no /proc yet to go through
        below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except NotADirectoryError:
        link = _link(here, part)
        if link is None:
            raise
        return -1, link
    if made:  # the caller's umask must not decide
        os.fchmod(below, mode)
        if owner is not None:
            os.fchown(below, *owner)
    return below, None


def _link(directory: int, name: bytes) -> bytes | None:
    """Where the link leads; None when it is no link, or not there."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def make_file(root: int, path: bytes | str, mode: int = 0o644) -> int:
    """An O_PATH descriptor of `path` inside `root`; an empty regular file is made there when nothing is."""
    raw = os.fsencode(path)
    for _ in range(_MAX_LINKS):
        try:
            return open_in(root, raw)
        except FileNotFoundError:
            parent, _, name = raw.rstrip(b"/").rpartition(b"/")
        directory = make_directories(root, parent)
        try:
            link = _link(directory, name)
            if link is None:
                # O_EXCL: what another process puts there meanwhile is not opened, as opening a device acts.
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, mode, dir_fd=directory))
                return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileExistsError:
            continue
        finally:
            os.close(directory)
        raw = link if link.startswith(b"/") else parent + b"/" + link
    raise OSError(errno.ELOOP, f"{os.strerror(errno.ELOOP)}: {os.fsdecode(path)!r}")


def read_small(root: int, path: bytes | str, limit: int) -> bytes:
    """The content of a regular file inside `root`, at most `limit` bytes.

    Anything else that a hostile image may put there (a fifo, a device, something endless) is refused with
    OSError(EINVAL) or OSError(EFBIG), without waiting for it and without opening it: to open a device may act (a
    watchdog's reboots the machine). Where the tree is in use, `root` has to be on a mount without devices, or its
    devices the caller's to use: what is there may be exchanged behind the look at it.
    """
    fd = open_file(root, path)
    try:
        piece = min(
            max(os.fstat(fd).st_size + 1, 4096), 1 << 20
        )  # no larger than it must be: large memory is mapped anew
        content = bytearray()
        while chunk := os.read(fd, min(piece, limit + 1 - len(content))):
            content += chunk
            if len(content) > limit:
                raise OSError(errno.EFBIG, f"larger than {limit} bytes: {os.fsdecode(path)!r}")
        return bytes(content)
    finally:
        os.close(fd)


def open_file(root: int, path: bytes | str) -> int:
    """A descriptor to read a regular file inside `root` by, as `read_small` does."""
    _must_be_a_file(root, path)
    fd = open_in(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"not a regular file: {os.fsdecode(path)!r}")
    return fd


def _must_be_a_file(root: int, path: bytes | str) -> None:
    fd = open_in(root, path)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, f"not a regular file: {os.fsdecode(path)!r}")
    finally:
        os.close(fd)


def status(dirfd: int, name: bytes) -> os.stat_result | None:
    """Of one component, and of a link itself. None when it is not there, or no directory is (-1)."""
    if dirfd < 0:
        return None
    try:
        return os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def chmod(fd: int, mode: int) -> None:
    """chmod by descriptor, O_PATH included."""
    os.chmod(descriptors.path(fd), mode)


def reopen(fd: int, flags: int) -> int:
    """A new descriptor of the same file as the O_PATH descriptor `fd`, with other flags."""
    return os.open(descriptors.path(fd), flags | os.O_CLOEXEC)
