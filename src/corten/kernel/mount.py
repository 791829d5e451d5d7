"""Mounts as file descriptors: fsopen(2), open_tree(2), mount_setattr(2), move_mount(2), and pivot_root(2).

A mount is made detached, given all its attributes, and only then moved to its place, so no half-configured mount is
ever visible and no path is resolved twice. Needs Linux 5.12.
"""

from __future__ import annotations

import os
import struct

from corten.kernel import syscall as sys

MS_REMOUNT = 0x20
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_MAX_VALUE = 255  # bytes of a string for fsconfig(2)
_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40


def new(fstype: str, options: tuple[str, ...] = (), attributes: int = 0, source: str = "") -> int:
    """A detached mount of a new file system; `options` are "key=value" or "flag". Returns its descriptor.

    Overlay's layers, all in one `lowerdir`, may be longer than the kernel takes: then they are given one by one, which
    needs Linux 6.5.
    The error's text has what the kernel wrote to the context's log, which names the option that it refuses:

        cannot mount tmpfs: bad value for 'size' (options size=abc)
    """
    context = sys.syscall("fsopen", sys.SYS_fsopen, fstype.encode(), _FSOPEN_CLOEXEC)
    try:
        if source:
            _set(context, "source", source)
        for option in options:
            key, equals, value = option.partition("=")
            if key == "lowerdir" and len(os.fsencode(value)) > _MAX_VALUE:
                for layer in value.split(":"):
                    _set(context, "lowerdir+", layer)
            else:
                _set(context, key, value if equals else None)
        sys.syscall("fsconfig", sys.SYS_fsconfig, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return sys.syscall("fsmount", sys.SYS_fsmount, context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        given = f" (options {','.join(options)})" if options else ""
        raise OSError(
            error.errno, f"cannot mount {fstype}: {_log(context) or _lower(error.strerror)}{given}"
        ) from error
    finally:
        os.close(context)


def _set(context: int, key: str, value: str | None) -> None:
    if value is None:
        sys.syscall("fsconfig", sys.SYS_fsconfig, context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
    else:
        sys.syscall("fsconfig", sys.SYS_fsconfig, context, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)


def _log(context: int) -> str:
    """The messages of a context, each once and without its level and the file system's name: "e tmpfs: ..."."""
    lines: dict[str, None] = {}
    try:
        while line := os.read(context, 4096):  # one message a read; ENODATA when there are no more
            text = line.decode(errors="replace").strip()
            lines[_lower(text.partition(": ")[2] or text)] = None
    except OSError:
        pass
    return ", ".join(lines)


def _lower(text: str | None) -> str:
    return f"{text or ''}"[:1].lower() + f"{text or ''}"[1:]


def clone(dirfd: int, path: str = "", recursive: bool = False, follow: bool = True) -> int:
    """A detached copy of the mount (with `recursive`: the mounts) at `path`, or at `dirfd` itself: a bind mount."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    flags |= sys.AT_RECURSIVE if recursive else 0
    flags |= 0 if follow else sys.AT_SYMLINK_NOFOLLOW
    flags |= 0 if path else sys.AT_EMPTY_PATH
    return sys.syscall("open_tree", sys.SYS_open_tree, dirfd, os.fsencode(path), flags)


def view(dirfd: int, path: str = "", recursive: bool = False) -> int:
    """The same for looking into a container's tree: no device can be opened there, whatever is put where a file was
    (to make nodes works), `..` ends at its root, and what is mounted elsewhere does not appear in it."""
    fd = clone(dirfd, path, recursive)
    try:
        set_attributes(fd, MOUNT_ATTR_NODEV, propagation=MS_PRIVATE, recursive=recursive)
    except OSError:
        os.close(fd)
        raise
    return fd


def number(fd: int) -> int:
    """Of the mount that `fd` is on: no other one of this kernel has it as long as that is there (proc(5), fdinfo)."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


def set_attributes(
    fd: int, add: int = 0, remove: int = 0, propagation: int = 0, recursive: bool = False, userns: int = 0
) -> None:
    """mount_setattr(2) on a mount's descriptor."""
    if remove & MOUNT_ATTR__ATIME or add & MOUNT_ATTR__ATIME:
        remove |= MOUNT_ATTR__ATIME  # the access-time bits are a field, not flags: it is replaced as a whole
    attr = struct.pack("QQQQ", add, remove, propagation, userns)
    flags = sys.AT_EMPTY_PATH | (sys.AT_RECURSIVE if recursive else 0)
    sys.syscall("mount_setattr", sys.SYS_mount_setattr, fd, b"", flags, attr, len(attr))


def move(fd: int, target: int) -> None:
    """Put the detached mount `fd` on top of what the descriptor `target` is."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    sys.syscall("move_mount", sys.SYS_move_mount, fd, b"", target, b"", flags)


def move_to(fd: int, path: str, directory: int = sys.AT_FDCWD) -> None:
    """Put the detached mount `fd` at a path, which begins in `directory`, and which no other process controls."""
    sys.syscall("move_mount", sys.SYS_move_mount, fd, b"", directory, os.fsencode(path), _MOVE_MOUNT_F_EMPTY_PATH)


def set_propagation(path: str, kind: int, recursive: bool = True) -> None:
    """Make `path` MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE."""
    flags = kind | (MS_REC if recursive else 0)
    sys.syscall("mount", sys.SYS_mount, None, os.fsencode(path), None, flags, None)


def mount(source: str, path: str, fstype: str, flags: int, data: str) -> None:
    """mount(2) of a file system at a path, for those that have options which fsconfig(2) does not take (NFS, CIFS)."""
    arguments = [os.fsencode(text) or None for text in (source, path, fstype)]
    sys.syscall("mount", sys.SYS_mount, *arguments, flags, os.fsencode(data) or None)


def unmount(path: str, flags: int = 0) -> None:
    sys.syscall("umount2", sys.SYS_umount2, os.fsencode(path), flags)


def sync(path: str) -> None:
    """Write all that the file system at `path` has not written yet (syncfs(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sys.syscall("syncfs", sys.SYS_syncfs, fd)
    finally:
        os.close(fd)


def pivot_root(new_root: str, put_old: str) -> None:
    sys.syscall("pivot_root", sys.SYS_pivot_root, os.fsencode(new_root), os.fsencode(put_old))
