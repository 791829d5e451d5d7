"""Applying one layer to an empty tree, in overlay's form: whiteouts become devices 0:0, opaque marks an attribute.

Every step is (directory descriptor, one component). Directories are found with openat2 inside the tree's root, so a
link in the tree may lead anywhere in it, as in a chroot, and never out of it. What an earlier entry of the same layer
made is replaced, as Docker does; only a directory over a directory is kept. A whiteout is about the layers below, and
takes nothing of its own layer away, nor what a link of it leads to.

A layer is applied by itself, without the layers below, so that layers unpack side by side. Two things then stay open,
and are part of the answer for `corten.layers.inherit` to settle when the tree gets its parent: directories that the
tar only implied (their mode and owner may be those of the layer below), and hard links whose target is not here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from corten.errors import Exhausted, Invalid
from corten.kernel import descriptors, paths
from corten.layers import attributes, marks, tree, whiteout
from corten.layers import header as tar
from corten.layers.directories import PATH_DIRECTORY, Directories, Place, inside, link, plain
from corten.layers.entries import Entry, Limits, entries
from corten.layers.limits import quoted
from corten.layers.source import Source

if TYPE_CHECKING:
    from corten.layers.sums import Written

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
Taken = Callable[[memoryview], object]
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


def apply(
    root: int,
    source: Source,
    limits: Limits,
    umask: int | None = None,
    layer: bool = True,
    written: Written | None = None,
    owned: bool = False,
    kind: type[Applying] | None = None,
) -> Applied:
    """Apply the uncompressed tar stream `source` to the empty directory `root`. The stream is read to its end. `kind`
    is who does it: `layers.again` for a directory that is not empty.

    `umask` is the calling process's, None to look it up. Without `layer` the stream is no layer but plain files, as the
    context of a build: a name of a whiteout is a name like any other, everything belongs to root unless it is `owned`
    as the stream says, and a hard link has to lead to what came before it. `written` gets the hashes of its files.

    Raises Invalid for an entry that is refused and a stream that is no tar, Exhausted when the disk is full,
    OSError for other errors of the kernel. The tree is then incomplete, to be removed.
    """
    work = (kind or Applying)(root, source, limits, _umask() if umask is None else umask, layer, written, owned)
    try:
        work.begin()
        for entry in entries(source, limits):
            work.add(entry)
        work.finish()
    finally:
        work.close()
    source.drain()
    return Applied(work.size, work.inodes, tuple(work.implied), tuple(work.links.items()))


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
            raise Invalid(f"tar entry escapes its root: {quoted(name)}")
    if sum(map(len, parts)) + len(parts) > longest + 1:
        raise Invalid(f"tar entry has a path of more than {longest} bytes: {quoted(name)}")
    return parts


class Applying:
    """One tar on its way into a tree: `begin`, `add` each entry, `finish`, and `close` in any case."""

    def __init__(
        self,
        root: int,
        source: Source,
        limits: Limits,
        umask: int,
        whiteouts: bool,
        written: Written | None,
        owned: bool,
    ) -> None:
        self._root = root
        self._source = source
        self._limits = limits
        self._directories = Directories(root)
        self._times: dict[bytes, int] = {}
        self._umask = umask
        self._whiteouts = whiteouts
        self._owned = owned or whiteouts
        self._written = written
        self._links = 0
        self.size = 0
        self.inodes = 0
        # By real paths, as are the times: without a link in them. The root is implied until it has an entry.
        self.implied: dict[bytes, None] = {b"": None}
        self.links: dict[bytes, bytes] = {}
        self._opaque: set[bytes] = set()
        self._hiding: set[bytes] = set()  # directories with whiteouts in them

    def begin(self) -> None:
        """Before the first entry."""

    def add(self, entry: Entry) -> None:
        """One entry; errors name it."""
        try:
            self._add(entry if self._owned or not (entry.uid or entry.gid) else entry._replace(uid=0, gid=0))
        except OSError as error:
            shown, reason = entry.name[:200].decode(errors="backslashreplace"), os.strerror(error.errno or 0)
            if error.errno in _FULL:
                raise Exhausted(f"no space left on device, unpacking {shown!r}") from error
            if error.errno in _REFUSED:
                raise Invalid(f"cannot unpack {shown!r}: {reason}") from error
            raise OSError(error.errno, f"{reason}, unpacking {shown!r}") from error

    def _add(self, entry: Entry) -> None:
        self._directories.trim()
        self._links = 0
        parts = clean(entry.name, self._limits.path)
        if not parts:
            if entry.type != tar.DIRECTORY:
                raise Invalid("the root of a layer is not a directory")
            self.implied.pop(b"", None)
            self._describe_directory(self._root, entry)
            self._times[b""] = entry.mtime
            return
        if self._whiteouts and whiteout.META_PREFIX in entry.name and whiteout.is_meta(parts):
            return
        self._count()
        name = parts.pop()
        parent = b"/".join(parts)
        if self._whiteouts and name.startswith(whiteout.PREFIX):
            self._whiteout(parent, name)
            return
        place = self._directory(parent)
        match entry.type:
            case tar.DIRECTORY:
                self._make_directory(place, name, entry)
            case tar.REGULAR:
                self._make_file(place.fd, name, entry)
            case tar.SYMLINK:
                self._make(place.fd, name, lambda: os.symlink(entry.link, name, dir_fd=place.fd))
                self._describe(place.fd, name, entry)
                self.size += len(entry.link)  # what stat(2) says it measures, and dockerd counts
            case tar.LINK:
                self._make_link(place, name, entry)
            case _:
                self._make_node(place.fd, name, entry)

    # ------------------------------------------------------------------------------------------ things in the tree

    def _make_file(self, dirfd: int, name: bytes, entry: Entry) -> None:
        mode = entry.mode & 0o777
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=dirfd)
        except FileExistsError:
            self._clear(dirfd, name)
            fd = os.open(name, _NEW_FILE, mode, dir_fd=dirfd)
        hash_ = self._written.begin() if self._written is not None and entry.parts is None else None
        try:
            if entry.parts is None:
                if entry.size:
                    self._fill(fd, entry, hash_.update if hash_ is not None else None)
            else:
                self._copy_parts(fd, entry)
            os.fchown(fd, entry.uid, entry.gid)
            if mode & self._umask or entry.mode & 0o7000:  # behind chown, which clears setuid
                os.fchmod(fd, entry.mode)
            attributes.put(fd, entry.xattrs)  # behind chown, which clears capabilities
            os.utime(fd, ns=(entry.mtime, entry.mtime))
            if self._written is not None and hash_ is not None:
                self._written.end(fd, hash_)
        finally:
            os.close(fd)
        self.size += entry.real

    def _fill(self, fd: int, entry: Entry, taken: Taken | None) -> None:
        """The content of a file without holes. `taken` gets what was written."""
        self._source.copy(fd, entry.size, taken)

    def _copy_parts(self, fd: int, entry: Entry) -> None:
        for offset, length in entry.parts or ():
            os.lseek(fd, offset, os.SEEK_SET)
            self._source.copy(fd, length)
        os.ftruncate(fd, entry.real)

    def _make_directory(self, place: Place, name: bytes, entry: Entry) -> None:
        path = place.path(name)
        self.implied.pop(path, None)
        fd = self._new_directory(place, name)
        try:
            self._describe_directory(fd, entry)
        finally:
            os.close(fd)
        self._times[path] = entry.mtime

    def _new_directory(self, place: Place, name: bytes) -> int:
        """mkdir unless it is one already; a readable descriptor of it."""
        dirfd = place.fd
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
                    self._opaque.add(place.path(name))
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

    def _make_link(self, place: Place, name: bytes, entry: Entry) -> None:
        target = clean(entry.link, self._limits.path)
        if not target:
            raise Invalid("hard link to the root directory")
        try:
            there = self._directories.find(b"/".join(target[:-1]))
            status = os.stat(target[-1], dir_fd=there.fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            self._link_below(place, name, b"/".join(target))
            return
        if marks.is_mark(status):
            self._link_below(place, name, self.links[there.path(target[-1])])
        elif whiteout.is_whiteout(status):
            self._link_below(place, name, b"/".join(target))
        elif stat.S_ISDIR(status.st_mode):
            raise Invalid(f"hard link to a directory: {quoted(entry.link)}")
        else:
            self._link_here(place.fd, name, there.fd, target[-1], status)

    def _link_below(self, place: Place, name: bytes, target: bytes) -> None:
        """A hard link to what the layers below may have."""
        if not self._whiteouts:
            raise Invalid(f"hard link to a file that does not exist: {quoted(target)}")
        path = place.path(name)
        if len(path) > self._limits.path:  # by way of a link
            raise Invalid(f"hard link has a path of more than {self._limits.path} bytes: {quoted(path)}")
        self._make(place.fd, name, lambda: marks.put(place.fd, name))
        self.links.pop(path, None)
        self.links[path] = target

    def _link_here(self, dirfd: int, name: bytes, from_fd: int, target: bytes, status: os.stat_result) -> None:
        try:
            os.link(target, name, src_dir_fd=from_fd, dst_dir_fd=dirfd, follow_symlinks=False)
        except FileExistsError:
            there = os.stat(name, dir_fd=dirfd, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                return
            held = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_fd)
            try:  # the target may go with what is cleared away; its descriptor does not
                self._clear(dirfd, name)
                os.link(descriptors.path(held), name, dst_dir_fd=dirfd, follow_symlinks=True)
            finally:
                os.close(held)

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        opaque = name == whiteout.OPAQUE_MARK
        hidden = name[len(whiteout.PREFIX) :]
        if hidden in (b"", b".", b".."):
            raise Invalid(f"whiteout of nothing: {quoted(name)}")
        if not self._directories.is_plain(parent):
            return  # something else of this layer stands before all that is below
        place = self._directory(parent)
        if opaque:
            self._make_opaque(place, b".")
            return
        self._hiding.add(place.real)
        try:
            whiteout.make(place.fd, hidden)
        except FileExistsError:  # made by this layer; a whiteout is only about the layers below
            if stat.S_ISDIR(os.stat(hidden, dir_fd=place.fd, follow_symlinks=False).st_mode):
                self._make_opaque(place, hidden)

    def _make_opaque(self, place: Place, name: bytes) -> None:
        self._opaque.add(place.real if name == b"." else place.path(name))
        fd = tree.open_directory(name, place.fd)
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
        self._directories.changed()
        if self._written is not None:
            self._written.forget()
        tree.remove(dirfd, name)

    # --------------------------------------------------------------------------------------- directories by their path

    def _directory(self, path: bytes) -> Place:
        """Directory `path`, made when it is missing."""
        try:
            return self._directories.find(path)
        except (FileNotFoundError, NotADirectoryError):
            return self._directories.keep(path, self._make_path(path.split(b"/")))

    def _make_path(self, parts: list[bytes]) -> Place:
        """mkdir -p: the deepest part that is there, then one component at a time."""
        for length in range(len(parts) - 1, -1, -1):
            try:
                found = self._directories.find(b"/".join(parts[:length]))
                break
            except (FileNotFoundError, NotADirectoryError):
                continue
        here = Place(os.dup(found.fd), found.real)
        for name in parts[length:]:
            above = here
            try:
                here = self._imply(above, name)
            finally:
                os.close(above.fd)
        return here

    def _imply(self, place: Place, name: bytes) -> Place:
        """A directory that has no entry of its own. A dangling link leads to where its target would be."""
        path = place.path(name)
        if self._whiteouts and name.startswith(whiteout.PREFIX) and path != whiteout.LINKS:
            raise Invalid(f"tar entry inside a whiteout: {quoted(name)}")
        target = link(place.fd, name)
        if target is not None:
            self._links += 1
            if self._links > _MAX_LINKS:
                raise Invalid("too many links to follow")
            above = [] if target.startswith(b"/") or not place.real else place.real.split(b"/")
            there = self._directory(b"/".join(inside(above, target)))
            return Place(os.dup(there.fd), there.real)
        self._count()
        fd = self._new_directory(place, name)
        try:
            os.fchmod(fd, 0o755)
            self.implied.pop(path, None)
            self.implied[path] = None
            self._times.pop(path, None)
            return Place(os.open(".", PATH_DIRECTORY, dir_fd=fd), path)
        finally:
            os.close(fd)

    def _count(self) -> None:
        self.inodes += 1
        if self.inodes > self._limits.inodes:
            raise Invalid(f"layer has more than {self._limits.inodes} entries")

    def finish(self) -> None:
        """What the order of entries has left open. Times of directories come last: everything made in them changes
        them."""
        self.implied = {path: None for path in self.implied if self._is_directory(path)}
        self.links = {path: target for path, target in self.links.items() if marks.take(self._root, path)}
        if self._opaque:
            whiteout.clear(self._root, self._hiding, self._opaque)
        if self._whiteouts and self._is_directory(whiteout.LINKS):
            tree.remove(self._root, whiteout.LINKS)
            self.implied = {path: None for path in self.implied if not _is_book_keeping(path)}
            self.links = {path: target for path, target in self.links.items() if not _is_book_keeping(path)}
        for path, mtime in self._times.items():
            fd = plain(self._root, path, os.O_RDONLY)
            if fd is not None:  # else it was replaced by a later entry
                try:
                    if os.fstat(fd).st_mtime_ns != mtime:
                        os.utime(fd, ns=(mtime, mtime))
                finally:
                    os.close(fd)

    def _is_directory(self, path: bytes) -> bool:
        fd = plain(self._root, path)
        if fd is not None:
            os.close(fd)
        return fd is not None

    def close(self) -> None:
        self._directories.close()


def _is_book_keeping(path: bytes) -> bool:
    return path == whiteout.LINKS or path.startswith(whiteout.LINKS + b"/")


def _umask() -> int:
    """This process's umask, without changing it (threads share it)."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777
