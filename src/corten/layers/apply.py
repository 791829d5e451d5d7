"""Applying one layer to an empty tree, in overlay's form: whiteouts become devices 0:0, opaque marks an attribute.

Every step is (directory descriptor, one component). Directories are found with openat2 inside the tree's root, so a
link in the tree may lead anywhere in it, as in a chroot, and never out of it. What an earlier entry of the same layer
made is replaced, as Docker does; only a directory over a directory is kept.

A layer is applied by itself, without the layers below, so that layers unpack side by side. Two things then stay open,
and are part of the answer for `corten.layers.inherit` to settle when the tree gets its parent: directories that the
tar only implied (their mode and owner may be those of the layer below), and hard links whose target is not here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from corten.errors import Exhausted, Invalid
from corten.kernel import descriptors, paths
from corten.layers import attributes, tree, whiteout
from corten.layers import header as tar
from corten.layers.entries import Entry, Limits, entries
from corten.layers.source import Source

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CACHE = 128
_MAX_LINKS = 40
_REFUSED = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EINVAL, errno.EXDEV, errno.ENOENT, errno.EISDIR,
            errno.E2BIG, errno.ERANGE, errno.EFBIG)  # fmt: skip
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Applied(NamedTuple):
    """`size` is the bytes of all files as they measure, `inodes` how many things were made.

    `implied` are directories without an entry of their own, outermost first, b"" for the root itself. `links` are
    (path, target) of hard links to something that this layer does not have.
    """

    size: int
    inodes: int
    implied: tuple[bytes, ...]
    links: tuple[tuple[bytes, bytes], ...]


def apply(root: int, source: Source, limits: Limits, umask: int | None = None) -> Applied:
    """Apply the uncompressed tar stream `source` to the empty directory `root`. The stream is read to its end.

    `umask` is the calling process's, None to look it up.

    Raises Invalid for an entry that is refused and a stream that is no tar, Exhausted when the disk is full,
    OSError for other errors of the kernel. The tree is then incomplete, to be removed.
    """
    layer = _Layer(root, source, limits, _umask() if umask is None else umask)
    try:
        for entry in entries(source, limits):
            layer.add(entry)
        layer.finish()
    finally:
        layer.close()
    source.drain()
    return Applied(layer.size, layer.inodes, tuple(layer.implied), tuple(layer.links))


def clean(name: bytes, longest: int) -> list[bytes]:
    """The components of a path in a tar: absolute is from the tree's root. Raises Invalid when `..` leaves it."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise Invalid(f"tar entry escapes its root: {name[:200]!r}")
    if sum(map(len, parts)) + len(parts) > longest + 1:
        raise Invalid(f"tar entry has a path of more than {longest} bytes: {name[:100]!r}")
    return parts


class _Layer:
    def __init__(self, root: int, source: Source, limits: Limits, umask: int) -> None:
        self._root = root
        self._source = source
        self._limits = limits
        self._directories: dict[bytes, int] = {}  # path to descriptor, in the order of use
        self._times: dict[bytes, int] = {}
        self._umask = umask
        self._stale = False
        self._links = 0
        self.size = 0
        self.inodes = 0
        self.implied: dict[bytes, None] = {b"": None}  # the root, until it has an entry
        self.links: list[tuple[bytes, bytes]] = []

    def add(self, entry: Entry) -> None:
        """One entry; errors name it."""
        try:
            self._add(entry)
        except OSError as error:
            shown = entry.name[:200].decode(errors="backslashreplace")
            if error.errno in _FULL:
                raise Exhausted(f"no space left on device, unpacking {shown!r}") from error
            if error.errno in _REFUSED:
                raise Invalid(f"cannot unpack {shown!r}: {error.strerror}") from error
            raise OSError(error.errno, f"{error.strerror}, unpacking {shown!r}") from error

    def _add(self, entry: Entry) -> None:
        if self._stale or len(self._directories) > _CACHE:
            self._trim()
        self._links = 0
        parts = clean(entry.name, self._limits.path)
        if not parts:
            if entry.type != tar.DIRECTORY:
                raise Invalid("the root of a layer is not a directory")
            self.implied.pop(b"", None)
            self._describe_directory(self._root, entry)
            self._times[b""] = entry.mtime
            return
        self._count()
        name = parts.pop()
        parent = b"/".join(parts)
        if name.startswith(whiteout.PREFIX):
            self._whiteout(parent, name)
            return
        dirfd = self._directory(parent)
        match entry.type:
            case tar.DIRECTORY:
                self._make_directory(dirfd, parent, name, entry)
            case tar.REGULAR:
                self._make_file(dirfd, name, entry)
            case tar.SYMLINK:
                self._make(dirfd, name, lambda: os.symlink(entry.link, name, dir_fd=dirfd))
                self._describe(dirfd, name, entry)
                self.size += len(entry.link)  # what stat(2) says it measures, and dockerd counts
            case tar.LINK:
                self._make_link(dirfd, parent, name, entry)
            case _:
                self._make_node(dirfd, name, entry)

    # ------------------------------------------------------------------------------------------ things in the tree

    def _make_file(self, dirfd: int, name: bytes, entry: Entry) -> None:
        mode = entry.mode & 0o777
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=dirfd)
        except FileExistsError:
            self._clear(dirfd, name)
            fd = os.open(name, _NEW_FILE, mode, dir_fd=dirfd)
        try:
            if entry.parts is None:
                if entry.size:
                    self._source.copy(fd, entry.size)
            else:
                self._copy_parts(fd, entry)
            os.fchown(fd, entry.uid, entry.gid)
            if mode & self._umask or entry.mode & 0o7000:  # behind chown, which clears setuid
                os.fchmod(fd, entry.mode)
            attributes.put(fd, entry.xattrs)  # behind chown, which clears capabilities
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)
        self.size += entry.real

    def _copy_parts(self, fd: int, entry: Entry) -> None:
        for offset, length in entry.parts or ():
            os.lseek(fd, offset, os.SEEK_SET)
            self._source.copy(fd, length)
        os.ftruncate(fd, entry.real)

    def _make_directory(self, dirfd: int, parent: bytes, name: bytes, entry: Entry) -> None:
        path = parent + b"/" + name if parent else name
        self.implied.pop(path, None)
        fd = self._new_directory(dirfd, name)
        try:
            self._describe_directory(fd, entry)
        finally:
            os.close(fd)
        self._times[path] = entry.mtime

    def _new_directory(self, dirfd: int, name: bytes) -> int:
        """mkdir unless it is one already; a readable descriptor of it."""
        try:
            os.mkdir(name, 0o755, dir_fd=dirfd)
        except FileExistsError:
            status = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                self._clear(dirfd, name)
                os.mkdir(name, 0o755, dir_fd=dirfd)
                fd = tree.open_directory(name, dirfd)
                if whiteout.is_whiteout(status):  # deleted below and made anew here
                    whiteout.make_opaque(fd)
                return fd
        return tree.open_directory(name, dirfd)

    def _describe_directory(self, fd: int, entry: Entry) -> None:
        os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        attributes.put(fd, entry.xattrs)

    def _make_node(self, dirfd: int, name: bytes, entry: Entry) -> None:
        kind = {tar.CHAR: stat.S_IFCHR, tar.BLOCK_DEVICE: stat.S_IFBLK, tar.FIFO: stat.S_IFIFO}[entry.type]
        device = entry.device
        mode = entry.mode & 0o777
        self._make(dirfd, name, lambda: os.mknod(name, kind | mode, device, dir_fd=dirfd))
        self._describe(dirfd, name, entry)
        if mode & self._umask or entry.mode & 0o7000:
            node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dirfd)
            try:
                paths.chmod(node, entry.mode)
            finally:
                os.close(node)

    def _make_link(self, dirfd: int, parent: bytes, name: bytes, entry: Entry) -> None:
        target = clean(entry.link, self._limits.path)
        if not target:
            raise Invalid("hard link to the root directory")
        own = parent + b"/" + name if parent else name
        try:
            from_fd = self._existing(b"/".join(target[:-1]))
            status = os.stat(target[-1], dir_fd=from_fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self.links.append((own, b"/".join(target)))
            return
        if stat.S_ISDIR(status.st_mode):
            raise Invalid(f"hard link to a directory: {entry.link[:200]!r}")
        try:
            os.link(target[-1], name, src_dir_fd=from_fd, dst_dir_fd=dirfd, follow_symlinks=False)
        except FileExistsError:
            there = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                return
            held = os.open(target[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_fd)
            try:  # the target may go with what is cleared away; its descriptor does not
                self._clear(dirfd, name)
                os.link(descriptors.path(held), name, dst_dir_fd=dirfd, follow_symlinks=True)
            finally:
                os.close(held)

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        if name == whiteout.OPAQUE_MARK:
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory(parent))
            try:
                whiteout.make_opaque(fd)
            finally:
                os.close(fd)
            return
        if name.startswith(whiteout.META_PREFIX):
            return
        hidden = name[len(whiteout.PREFIX) :]
        if hidden in (b"", b".", b".."):
            raise Invalid(f"whiteout of nothing: {name!r}")
        dirfd = self._directory(parent)
        try:
            whiteout.make(dirfd, hidden)
        except FileExistsError:  # made by this layer; a whiteout is only about the layers below
            if stat.S_ISDIR(os.stat(hidden, dir_fd=dirfd, follow_symlinks=False).st_mode):
                fd = tree.open_directory(hidden, dirfd)
                try:
                    whiteout.make_opaque(fd)
                finally:
                    os.close(fd)

    def _make(self, dirfd: int, name: bytes, make: Callable[[], None]) -> None:
        try:
            make()
        except FileExistsError:
            self._clear(dirfd, name)
            make()

    def _describe(self, dirfd: int, name: bytes, entry: Entry) -> None:
        """Owner, attributes and time of what is no file and no directory."""
        os.chown(name, entry.uid, entry.gid, dir_fd=dirfd, follow_symlinks=False)
        attributes.put(descriptors.path_in(dirfd, name), entry.xattrs, follow=False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=dirfd, follow_symlinks=False)

    def _clear(self, dirfd: int, name: bytes) -> None:
        """Remove what an earlier entry left at `name`."""
        self._stale = True  # cached paths may have led through it; their descriptors stay good for this entry
        tree.remove(dirfd, name)

    # --------------------------------------------------------------------------------------- directories by their path

    def _directory(self, path: bytes) -> int:
        """A descriptor of directory `path`, made when it is missing. It stays the cache's."""
        try:
            return self._existing(path)
        except (FileNotFoundError, NotADirectoryError):
            fd = self._directories[path] = self._make_path(path.split(b"/"))
            return fd

    def _existing(self, path: bytes) -> int:
        if not path:
            return self._root
        fd = self._directories.get(path)
        if fd is None:
            fd = self._directories[path] = paths.open_in(self._root, path, os.O_PATH | os.O_DIRECTORY)
        return fd

    def _make_path(self, parts: list[bytes]) -> int:
        """mkdir -p: the deepest part that is there, then one component at a time."""
        for length in range(len(parts) - 1, -1, -1):
            try:
                here = paths.open_in(self._root, b"/".join(parts[:length]), os.O_PATH | os.O_DIRECTORY)
                break
            except (FileNotFoundError, NotADirectoryError):
                continue
        for end in range(length + 1, len(parts) + 1):
            above = here
            try:
                here = self._imply(above, parts[:end])
            finally:
                os.close(above)
        return here

    def _imply(self, dirfd: int, parts: list[bytes]) -> int:
        """A directory that has no entry of its own. A dangling link leads to where its target would be."""
        name = parts[-1]
        if name.startswith(whiteout.PREFIX):
            raise Invalid(f"tar entry inside a whiteout: {name[:200]!r}")
        target = _link(dirfd, name)
        if target is not None:
            self._links += 1
            if self._links > _MAX_LINKS:
                raise Invalid("too many links to follow")
            above = [] if target.startswith(b"/") else parts[:-1]
            inside = _inside(above, target)
            return os.dup(self._directory(b"/".join(inside)))
        self._count()
        fd = self._new_directory(dirfd, name)
        try:
            os.fchmod(fd, 0o755)
            self.implied[b"/".join(parts)] = None
            return os.open(".", _PATH_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)

    def _count(self) -> None:
        self.inodes += 1
        if self.inodes > self._limits.inodes:
            raise Invalid(f"layer has more than {self._limits.inodes} entries")

    def _trim(self) -> None:
        """Between entries: close descriptors that may be stale, or the oldest when there are many."""
        surplus = len(self._directories) if self._stale else len(self._directories) - _CACHE // 2
        for path in list(self._directories)[:surplus]:
            os.close(self._directories.pop(path))
        self._stale = False

    def finish(self) -> None:
        """Times of directories, which every entry made in them had changed."""
        for path, mtime in self._times.items():
            try:
                fd = paths.open_in(self._root, path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                if error.errno in _REFUSED:
                    continue  # replaced by a later entry, if only by a link that leads nowhere
                raise
            try:
                os.utime(fd, ns=(mtime, mtime))
            finally:
                os.close(fd)

    def close(self) -> None:
        for fd in self._directories.values():
            os.close(fd)
        self._directories.clear()


def _link(dirfd: int, name: bytes) -> bytes | None:
    """The target of `name` when it is a symbolic link."""
    try:
        return os.readlink(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _inside(above: list[bytes], target: bytes) -> list[bytes]:
    """Where a link leads, with `..` stopping at the root, as in a chroot."""
    parts = list(above)
    for part in target.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _umask() -> int:
    """This process's umask, without changing it (threads share it)."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777
