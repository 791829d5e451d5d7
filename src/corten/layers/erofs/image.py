"""A tree to an image, in one walk: a directory gets its place when it is entered, because its names say how much it
needs, and is written when it is left, because its names' inodes are known then. So what is held in memory are the
directories from the root to where the walk is, and files of which further names are to come."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from corten.errors import Failed
from corten.kernel import xattr
from corten.layers import tree
from corten.layers.directory_stack import DirectoryStack
from corten.layers.erofs import structures as on_disk
from corten.layers.erofs.attributes import Attributes
from corten.layers.erofs.contents import EMPTY, Contents, Copied, Flat, Place
from corten.layers.erofs.names import Names
from corten.layers.erofs.space import Space
from corten.layers.erofs.structures import BLOCK, COMPACT, EXTENDED, SLOT, Inode
from corten.layers.limits import quoted

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TAIL = 2560  # bytes of a file at most: a longer one wastes more behind the inode before it than in a block of its own


class Made(NamedTuple):
    """`size` in bytes."""

    size: int
    inodes: int


def write(top: int, out: int, uuid: bytes = bytes(16), label: bytes = b"") -> Made:
    """Write an image of the directory `top` to the empty file `out`. Links are not followed; nothing may change the
    tree meanwhile. `uuid` and `label` (16 bytes at most) are the superblock's. Both descriptors stay the caller's.

    Memory: about 80 bytes and the name for each name in the directories from the root to where the walk is, 300 for
    each file with several names until its last one, and 3 MB.

    Raises Unsupported for what the format does not have (attributes of other kinds, or more than 256 KiB of them),
    Exhausted for more than 16 TiB, Failed for a tree that changes, and the kernel's OSError.
    """
    space = Space(out)
    return _Image(space, Copied(space)).made(top, uuid, label)


class _Directory(NamedTuple):
    """One that the walk is in: where its inode is, and the block of those of its names that are not behind that."""

    name: bytes
    status: os.stat_result
    names: Names
    area: bytes
    number: int
    at: int
    inline: bool
    block: int

    @property
    def nid(self) -> int:
        return self.at // SLOT


class _Linked:
    """A file with several names: how many were met, and how many it is said to have."""

    __slots__ = ("at", "met", "said")

    def __init__(self, at: int, said: int) -> None:
        self.at = at
        self.met = 1
        self.said = said


class _Image:
    def __init__(self, space: Space, contents: Contents) -> None:
        self._space = space
        self._contents = contents
        self._attributes = Attributes(space)
        self._links: dict[tuple[int, int], _Linked] = {}
        self._inodes = 0
        self._epoch = 0
        self._chunked = False

    def made(self, top: int, uuid: bytes, label: bytes) -> Made:
        stack = DirectoryStack(top)
        try:
            status = os.fstat(stack.fd)
            self._epoch = status.st_mtime_ns
            root = self._enter(stack.fd, b"/", status)
            self._walk(stack, root)
        finally:
            stack.close()
        self._correct_links()
        blocks = self._space.close()
        found = on_disk.Superblock(root.nid, self._inodes, blocks, self._epoch, uuid, label, self._chunked)
        self._space.put(0, on_disk.first_block(found))
        return Made(blocks * BLOCK, self._inodes)

    # ---------------------------------------------------------------------------------------------------- directories

    def _walk(self, stack: DirectoryStack, root: _Directory) -> None:
        levels = [root]
        while levels:
            here = levels[-1]
            name = here.names.next()
            if name is None:
                levels.pop()
                self._leave(here, levels[-1] if levels else here)
                if levels and stack.leave() != len(levels) - 1:
                    raise _changed(here.name)
                continue
            try:
                status = os.stat(name, dir_fd=stack.fd, follow_symlinks=False)
            except FileNotFoundError:
                raise _changed(name) from None
            if not stat.S_ISDIR(status.st_mode):
                here.names.stand_for(self._thing(stack.fd, name, status), on_disk.kind(status.st_mode))
            elif stack.enter(name):
                levels.append(self._enter(stack.fd, name, status))
                here.names.stand_for(levels[-1].nid, on_disk.DIRECTORY)
            else:
                raise _changed(name)

    def _enter(self, fd: int, name: bytes, status: os.stat_result) -> _Directory:
        names = Names(tree.names(fd))
        area = self._attributes.area(xattr.all_of(fd), name)
        head = EXTENDED + len(area)
        inline = head + names.tail <= BLOCK
        at = self._space.inode(head + names.tail if inline else head, together=inline)
        outside = names.blocks - inline
        block = self._space.blocks(outside * BLOCK) // BLOCK if outside else 0
        self._inodes += 1
        return _Directory(name, status, names, area, self._inodes, at, inline, block)

    def _leave(self, here: _Directory, above: _Directory) -> None:
        tail = b""
        for number, block in enumerate(here.names.encoded(here.nid, above.nid)):
            if here.inline and number == here.names.blocks - 1:
                tail = block
            else:
                self._space.put((here.block + number) * BLOCK, block)
        size = (here.names.blocks - 1) * BLOCK + here.names.tail
        inode = Inode(
            *_owned(here.status), size, here.status.st_mtime_ns, here.names.directories, here.number,
            on_disk.INLINE if here.inline else on_disk.PLAIN, here.block, len(here.area),
        )  # fmt: skip
        self._space.put(here.at, on_disk.inode(inode, compact=False) + here.area + tail)

    # --------------------------------------------------------------------------------------------------------- others

    def _thing(self, dirfd: int, name: bytes, status: os.stat_result) -> int:
        """The nid of what is no directory."""
        if status.st_nlink == 1:
            return self._new(dirfd, name, status) // SLOT
        key = (status.st_dev, status.st_ino)
        linked = self._links.get(key)
        if linked is None:
            linked = self._links[key] = _Linked(self._new(dirfd, name, status), status.st_nlink)
            return linked.at // SLOT
        linked.met += 1
        if linked.met == linked.said:
            del self._links[key]
        return linked.at // SLOT

    def _new(self, dirfd: int, name: bytes, status: os.stat_result) -> int:
        mode = status.st_mode
        if stat.S_ISREG(mode):
            return self._file(dirfd, name, status)
        try:
            area = self._attributes.area(xattr.all_at(dirfd, name), name)
            if stat.S_ISLNK(mode):
                return self._symlink(os.readlink(name, dir_fd=dirfd), area, status)
        except FileNotFoundError:
            raise _changed(name) from None
        return self._put(status, 0, EMPTY, area, on_disk.device(status.st_rdev))

    def _file(self, dirfd: int, name: bytes, status: os.stat_result) -> int:
        try:
            fd = os.open(name, _READ, dir_fd=dirfd)
        except (FileNotFoundError, IsADirectoryError):
            raise _changed(name) from None
        try:
            area = self._attributes.area(xattr.all_of(fd), name)
            room = min(_TAIL, BLOCK - EXTENDED - len(area))
            size, whole = status.st_size, status.st_blocks * 512 >= status.st_size
            place = self._contents.place(fd, size, whole, room, name)
        finally:
            os.close(fd)
        return self._put(status, size, place, area)

    def _symlink(self, target: bytes, area: bytes, status: os.stat_result) -> int:
        if EXTENDED + len(area) + len(target) <= BLOCK:
            return self._put(status, len(target), Flat(0, target), area)
        at = self._space.blocks(len(target))
        self._space.put(at, target)
        return self._put(status, len(target), Flat(at // BLOCK, b""), area)

    def _put(self, status: os.stat_result, size: int, place: Place, area: bytes, device: int = 0) -> int:
        """Write an inode with what is behind it; its place."""
        if isinstance(place, Flat):
            layout, where, data = (on_disk.INLINE if place.tail else on_disk.PLAIN), place.block, place.tail
        else:
            layout, where, data = on_disk.CHUNKED, place.bits, place.table
            self._chunked = True
        self._inodes += 1
        inode = Inode(
            *_owned(status), size, status.st_mtime_ns, status.st_nlink, self._inodes, layout, device or where, len(area)
        )
        compact = status.st_nlink == 1 and on_disk.is_compact(inode, self._epoch)
        head = COMPACT if compact else EXTENDED
        at = self._space.inode(head + len(area) + len(data), together=layout == on_disk.INLINE)
        self._space.put(at, on_disk.inode(inode, compact) + area + data)
        return at

    def _correct_links(self) -> None:
        """Files of which not all names are in the tree have fewer."""
        for linked in self._links.values():
            self._space.put(linked.at + on_disk.LINKS_AT, linked.met.to_bytes(4, "little"))


def _owned(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mode, status.st_uid, status.st_gid


def _changed(name: bytes) -> Failed:
    return Failed(f"{quoted(name)} was changed while an image was made of its tree")
