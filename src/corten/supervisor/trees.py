"""Short-lived children that look into a container's tree for `cp`, `diff`, `export` and `commit`.

A running container's tree is its own (/proc/PID/root, opened by the daemon), volumes and all. A stopped one's is
mounted for this process alone, in a mount namespace of its own. Either way it is a descriptor, every path in it is
resolved by openat2 inside it, and before any of the tree's bytes is looked at the process confines itself to it.
Nothing of the container is ever executed or loaded here: there is no chroot, so no library of the image is in reach
(CVE-2019-14271), and compressed archives are unpacked by the daemon (CVE-2026-41567).

Each function answers with one frame and ends; what it sends as data it sends after its answer, and then a second frame
says whether all of it was sent.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import traceback
from collections.abc import Callable
from typing import Any

from corten.errors import CortenError, Forbidden, Invalid, NotFound
from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel import process as p
from corten.kernel import syscall as sys
from corten.layers import delta, tree
from corten.layers.confine import confine
from corten.layers.entries import Limits
from corten.layers.owners import AS_THEY_ARE, Owners
from corten.layers.pack import Packer
from corten.layers.place import Placing
from corten.layers.source import Source
from corten.runtime import mountplan
from corten.supervisor import wire

Json = dict[str, Any]

_LANDING = "/sys"  # a directory that every host has and this process does not need
_MAX_LINKS = 40
_MAX_SMALL = 1 << 20
# Go's os.FileMode, which the API's Mode field is (pkg.go.dev/io/fs#FileMode).
_GO_TYPES = {stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFIFO: 1 << 25,
             stat.S_IFSOCK: 1 << 24, stat.S_IFCHR: 1 << 26 | 1 << 21}  # fmt: skip
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def look(request: Json, fds: list[int]) -> None:
    """Docker's PathStat of request["path"]."""
    reply, root = socket.socket(fileno=fds[0]), _root(request, fds[1:])

    def work() -> Json:
        confine(root)
        return _stat(root, request["path"], *_find(root, request["path"]))

    _serve(reply, work, None)


def fetch(request: Json, fds: list[int]) -> None:
    """PathStat, then the tar of request["path"] to fds[1]."""
    reply, root = socket.socket(fileno=fds[0]), _root(request, fds[2:])

    found: list[tuple[int, bytes, os.stat_result]] = []

    def work() -> Json:
        confine(root)
        found.append(_find(root, request["path"]))
        return _stat(root, request["path"], *found[0])

    owners = _owners(request, fds[2:])
    _serve(reply, work, lambda: _send(request["path"], *found[0], Packer(fds[1], owners)))


def put(request: Json, fds: list[int]) -> None:
    """Unpack the tar from fds[1] into the directory request["path"], which has to exist."""
    reply, root = socket.socket(fileno=fds[0]), _root(request, fds[2:])

    def work() -> Json:
        confine(root)
        os.umask(0)
        path = os.fsencode(request["path"])
        try:
            os.close(paths.open_in(root, path, os.O_PATH | os.O_DIRECTORY))
        except FileNotFoundError:
            raise NotFound(_missing(request["path"])) from None
        except NotADirectoryError:
            raise Invalid("extraction point is not a directory") from None
        owner = _owner(root, request["owner"]) if request.get("owner") else None
        placing = Placing(root, path, Limits(), bool(request.get("strict")), owner, _owners(request, fds[2:]))
        placing.run(Source(fds[1]))
        return {}

    _serve(reply, work, None)


def export(request: Json, fds: list[int]) -> None:
    """The tar of the whole tree, without what is mounted in it, to fds[1]."""
    reply, root = socket.socket(fileno=fds[0]), _root(request, fds[2:])

    def send() -> None:
        packer = Packer(fds[1], _owners(request, fds[2:]))
        packer.tree(root)
        packer.end()

    def work() -> Json:
        confine(root)
        return {}

    _serve(reply, work, send)


def changes(request: Json, fds: list[int]) -> None:
    """What has changed in the tree fds[2]: lines of Docker's number, a space and the path, ended by NUL, to fds[1]."""
    reply = socket.socket(fileno=fds[0])
    base = _mount(request["base"]) if request.get("base") else None

    def send() -> None:
        with os.fdopen(fds[1], "wb", buffering=1 << 16, closefd=False) as out:
            for change in delta.changes(fds[2], base, bool(request.get("whole")), _owners(request, [])):
                out.write(b"%d /%s\0" % (change.kind, change.path))

    _serve(reply, dict, send)


def layer(request: Json, fds: list[int]) -> None:
    """The same as the tar of a layer, to fds[1]."""
    reply = socket.socket(fileno=fds[0])
    base = _mount(request["base"]) if request.get("base") else None

    def send() -> None:
        owners = _owners(request, [])
        packer = Packer(fds[1], owners)
        for change in delta.changes(fds[2], base, bool(request.get("whole")), owners):
            if change.status is None:
                packer.whiteout(change.path)
            else:
                packer.add(change.dirfd, change.name, change.path, change.status)
        packer.end()

    _serve(reply, dict, send)


# ----------------------------------------------------------------------------------------------------------- the tree


def _root(request: Json, given: list[int]) -> int:
    """The container's tree. `given`: root, mount namespace and user namespace of one that runs; nothing otherwise."""
    try:
        if given:
            root, mounts, user = given
            return _running(root, mounts, user, bool(request.get("bare")))
        return _stopped(request)
    except OSError as error:
        raise OSError(error.errno, f"cannot open the container's tree: {error.strerror}") from error


def _owners(request: Json, given: list[int]) -> Owners:
    """What a container in a user namespace wrote has other ids on the disk. One that runs (`given`, as above) has been
    joined there, and shows its own."""
    ids = request.get("ids")
    return AS_THEY_ARE if given or not ids else Owners(ids["uids"], ids["gids"])


def _running(root: int, mounts: int, user: int, bare: bool) -> int:
    """`bare`: a view of the root file system by itself. A mount of another namespace can only be copied in there."""
    if bare:
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        p.setns(mounts, p.CLONE_NEWNS)
        try:
            root = m.clone(root)
        finally:
            p.setns(home, p.CLONE_NEWNS)  # no path has been used meanwhile
    own = os.stat("/proc/self/ns/user")
    theirs = os.fstat(user)
    if (own.st_dev, own.st_ino) != (theirs.st_dev, theirs.st_ino):
        p.setns(user, p.CLONE_NEWUSER)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    return root


def _stopped(request: Json) -> int:
    root = _mount(request["rootfs"])
    if request.get("bare"):
        return root
    p.unshare(p.CLONE_NEWNS)
    m.set_propagation("/", m.MS_SLAVE)
    m.move_to(root, _LANDING)
    for entry in request.get("mounts") or ():
        _place(root, entry)
    if request.get("read_only"):
        m.set_attributes(root, m.MOUNT_ATTR_RDONLY)
    return root


def _place(root: int, entry: Json) -> None:
    """A volume or bind as the container has it."""
    try:
        fd = m.clone(sys.AT_FDCWD, entry["source"], recursive=True)
    except FileNotFoundError:
        return  # a bind whose source is gone: there is nothing to see in it
    m.set_attributes(fd, propagation=m.MS_SLAVE, recursive=True)
    if entry["read_only"]:
        m.set_attributes(fd, m.MOUNT_ATTR_RDONLY)
    directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    where = (paths.make_directories if directory else paths.make_file)(root, entry["target"])
    m.move(fd, where)
    os.close(where)


def _mount(entry: Json) -> int:
    plan = mountplan.parse(entry)
    if plan.kind == "bind":
        fd = m.clone(sys.AT_FDCWD, plan.source)
        m.set_attributes(fd, plan.add, plan.clear)
        return fd
    return m.new(plan.fstype, plan.data, plan.add, plan.source)


# ------------------------------------------------------------------------------------------------------- paths in it


def _parts(path: str) -> tuple[bytes, bytes]:
    """(directory, last component) of a path as a client gave it. The component is b"." for what must be a directory:
    `/`, and paths that end with a slash or a dot."""
    raw = os.fsencode(path)
    parts: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    if not parts or raw.endswith((b"/", b"/.")) or raw == b".":
        return b"/" + b"/".join(parts), b"."
    return b"/" + b"/".join(parts[:-1]), parts[-1]


def _find(root: int, path: str) -> tuple[int, bytes, os.stat_result]:
    directory, name = _parts(path)
    try:
        dirfd = paths.open_in(root, directory, os.O_RDONLY | os.O_DIRECTORY)
        return dirfd, name, os.stat(name, dir_fd=dirfd, follow_symlinks=False)
    except FileNotFoundError:
        raise NotFound(_missing(path)) from None
    except NotADirectoryError:
        raise Invalid(f"not a directory: {path}") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL):
            raise Invalid(f"cannot open {path}: {error.strerror}") from None
        raise


def _missing(path: str) -> str:
    return f"Could not find the file {path} in container"


def _stat(root: int, path: str, dirfd: int, name: bytes, status: os.stat_result) -> Json:
    shown = path.rstrip("/").rpartition("/")[2] or "/"
    return {
        "name": shown,
        "size": status.st_size,
        "mode": _go_mode(status.st_mode),
        "mtime": status.st_mtime_ns,
        "linkTarget": _target(root, path, dirfd, name) if stat.S_ISLNK(status.st_mode) else "",
    }


def _go_mode(mode: int) -> int:
    return (mode & 0o777) | _GO_TYPES.get(stat.S_IFMT(mode), 0) | sum(go for bit, go in _GO_BITS if mode & bit)


def _target(root: int, path: str, dirfd: int, name: bytes) -> str:
    """Where a link leads in the end, as a path in the container; the first step only, when it leads nowhere."""
    target = os.readlink(name, dir_fd=dirfd)
    here = _parts(path)[0]
    for _ in range(_MAX_LINKS):
        absolute = target if target.startswith(b"/") else here.rstrip(b"/") + b"/" + target
        here, last = _parts(os.fsdecode(absolute))
        try:
            target = _read_link(root, here, last)
        except OSError:
            break
    return os.fsdecode(os.path.normpath(absolute))


def _read_link(root: int, directory: bytes, name: bytes) -> bytes:
    fd = paths.open_in(root, directory, os.O_PATH | os.O_DIRECTORY)
    try:
        return os.readlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def _send(path: str, dirfd: int, name: bytes, status: os.stat_result, packer: Packer) -> None:
    if name != b".":
        packer.add(dirfd, name, name, status)
        if stat.S_ISDIR(status.st_mode):
            packer.tree(tree.open_directory(name, dirfd), name + b"/")
    else:
        last = path.rstrip("/").rpartition("/")[2]
        base = b"" if not last else b"." if last == "." else os.fsencode(last)
        packer.add(dirfd, b".", base + b"/", status)
        packer.tree(dirfd, base + b"/")
    packer.end()


def _owner(root: int, user: str) -> tuple[int, int]:
    """ "USER[:GROUP]", by the container's own files."""
    name, _, group = user.partition(":")
    entry = _line(root, "etc/passwd", name, 2)
    uid = int(entry[2]) if entry else _number(name, "user")
    if group:
        found = _line(root, "etc/group", group, 2)
        return uid, int(found[2]) if found else _number(group, "group")
    return uid, int(entry[3]) if entry else 0


def _line(root: int, path: str, name: str, number: int) -> list[str] | None:
    try:
        text = paths.read_small(root, path, _MAX_SMALL).decode(errors="replace")
    except OSError:
        return None
    lines = [line.split(":") for line in text.splitlines()]
    good = [line for line in lines if len(line) > 3 and line[number].isdigit() and line[-1] is not None]
    for key in (0, number):
        for line in good:
            if line[key] == name and (path != "etc/passwd" or line[3].isdigit()):
                return line
    return None


def _number(text: str, what: str) -> int:
    if re.fullmatch(r"[0-9]{1,10}", text):
        return int(text)
    raise Invalid(f"unable to find {what} {text}: no matching entry in the container's files")


# ----------------------------------------------------------------------------------------------------------- answers


def _serve(reply: socket.socket, work: Callable[[], Json], send: Callable[[], None] | None) -> None:
    frame = _tried(work)
    wire.send(reply, frame)
    if send is not None and "ok" in frame:

        def sent() -> Json:
            send()
            return {}

        wire.send(reply, _tried(sent))
    os._exit(0)


def _tried(work: Callable[[], Json]) -> Json:
    try:
        return {"ok": work()}
    except BrokenPipeError:
        os._exit(0)  # nobody wants it any more
    except OSError as error:
        kind = Forbidden.__name__ if error.errno == errno.EROFS else type(error).__name__
        return {"error": {"kind": kind, "text": str(error), "errno": error.errno or 0}}
    except (CortenError, ValueError) as error:
        return {"error": {"kind": type(error).__name__, "text": str(error), "errno": 0}}
    except Exception as error:
        traceback.print_exc()
        return {"error": {"kind": type(error).__name__, "text": repr(error), "errno": 0}}
