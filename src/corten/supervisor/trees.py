"""Short-lived children that look into a container's tree for `cp`, `diff`, `export` and `commit`.

A running container's tree is its own (/proc/PID/root, opened by the daemon), volumes and all, and a stopped one's is
mounted as it would be. Either way it is a descriptor (`views`), every path in it is resolved by openat2 inside it, and
before any of the tree's bytes is looked at the process confines itself to it. Nothing of the container is ever executed
or loaded here: this process's own root is empty, so no library of the image is in reach (CVE-2019-14271), and
compressed archives are unpacked by the daemon (CVE-2026-41567).

Each function answers with one frame and ends; what it sends as data it sends after its answer, and then a second frame
says whether all of it was sent, and how many things were `left_out` because no path leads to them.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from typing import Any

from corten.errors import CortenError, Forbidden, Invalid, NotFound
from corten.kernel import mount as m
from corten.kernel import paths
from corten.kernel.filesystems import is_kernels_own
from corten.layers import delta, tree
from corten.layers.confine import confine
from corten.layers.directory_stack import Name
from corten.layers.entries import Limits
from corten.layers.limits import LONGEST_PATH
from corten.layers.owners import AS_THEY_ARE, Owners
from corten.layers.pack import Packer
from corten.layers.place import Placing
from corten.layers.source import Source
from corten.runtime import identity
from corten.spec import go_modes
from corten.supervisor import views, wire
from corten.supervisor.failures import tried

Json = dict[str, Any]

_MAX_LINKS = 40
# A circle of links; a path that leads out of the tree; a link of /proc that the kernel permits others only (ptrace(2)).
_REFUSED = {errno.ELOOP: Invalid, errno.EXDEV: Invalid, errno.EACCES: Forbidden}


def look(request: Json, fds: list[int]) -> None:
    """Docker's PathStat of request["path"]."""
    reply = socket.socket(fileno=fds[0])

    def work() -> Json:
        root = _enter(request, fds[1:])
        return _stat(root, request["path"], *_find(root, request["path"]))

    _serve(reply, work, None)


def fetch(request: Json, fds: list[int]) -> None:
    """PathStat, then the tar of request["path"] to fds[1]."""
    reply = socket.socket(fileno=fds[0])
    found: list[tuple[int, bytes, os.stat_result]] = []
    roots: list[int] = []

    def work() -> Json:
        root = _enter(request, fds[2:])
        roots.append(root)
        found.append(_find(root, request["path"]))
        return _stat(root, request["path"], *found[0])

    owners = _owners(request, fds[2:])
    _serve(reply, work, lambda: _send(request["path"], *found[0], Packer(fds[1], owners), roots[0]))


def put(request: Json, fds: list[int]) -> None:
    """Unpack the tar from fds[1] into the directory request["path"], which has to exist."""
    reply = socket.socket(fileno=fds[0])

    def work() -> Json:
        root = _enter(request, fds[2:])
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
    reply = socket.socket(fileno=fds[0])
    roots: list[int] = []

    def send() -> Json:
        packer = Packer(fds[1], _owners(request, fds[2:]))
        packer.tree(roots[0])
        return _ended(packer)

    def work() -> Json:
        roots.append(_enter({**request, "bare": True}, fds[2:]))
        return {}

    _serve(reply, work, send)


def changes(request: Json, fds: list[int]) -> None:
    """What has changed in the tree fds[2], as Docker's JSON list of Path and Kind, to fds[1]."""
    reply = socket.socket(fileno=fds[0])
    found: list[Iterator[delta.Change]] = []

    def work() -> Json:
        found.append(_changes(request, fds[2], _owners(request, [])))
        return {}

    def send() -> Json:
        with os.fdopen(fds[1], "wb", buffering=1 << 16, closefd=False) as out:
            before = b"["
            for change in found[0]:  # without dumps(), which takes nine times as long
                path = encode_basestring_ascii(
                    "/" + change.path.decode(errors="replace")
                )  # dumps() takes three times as long
                out.write(before + f'{{"Path":{path},"Kind":{change.kind}}}'.encode())
                before = b","
            out.write(b"]" if before == b"," else b"[]")
        return {}

    _serve(reply, work, send)


def layer(request: Json, fds: list[int]) -> None:
    """The same as the tar of a layer, to fds[1]."""
    reply = socket.socket(fileno=fds[0])
    owners = _owners(request, [])
    found: list[Iterator[delta.Change]] = []

    def work() -> Json:
        found.append(_changes(request, fds[2], owners))
        return {}

    def send() -> Json:
        packer = Packer(fds[1], owners)
        for change in found[0]:
            if change.status is None:
                packer.whiteout(change.path)
            else:
                packer.add(change.dirfd, change.name, change.path, change.status)
        return _ended(packer)

    _serve(reply, work, send)


def _ended(packer: Packer) -> Json:
    packer.end()
    return {"left_out": packer.left_out}


# ----------------------------------------------------------------------------------------------------------- the tree


def _enter(request: Json, given: list[int]) -> int:
    """The container's tree, to which this process is confined from here on. `given`: root, mount namespace and user
    namespace of one that runs; nothing otherwise."""
    try:
        if given:
            root, user = views.of_running(given[0], given[1], bool(request.get("bare"))), _elsewhere(given[2])
        else:
            root, user = views.of_stopped(request), -1
    except OSError as error:
        raise OSError(error.errno, f"cannot open the container's tree: {error.strerror}") from error
    confine(root, user=user)
    return root


def _elsewhere(user: int) -> int:
    """The descriptor of a user namespace, -1 when it is our own."""
    own, theirs = os.stat("/proc/self/ns/user"), os.fstat(user)
    return -1 if (own.st_dev, own.st_ino) == (theirs.st_dev, theirs.st_ino) else user


def _changes(request: Json, tree: int, owners: Owners) -> Iterator[delta.Change]:
    """What has changed in a container's own tree, which may be in use; confined to it and the one below."""
    own = m.view(tree)
    base = views.of_mount(request["base"]) if request.get("base") else None
    confine(own, *(() if base is None else (base,)))
    return delta.changes(own, base, bool(request.get("whole")), owners, LONGEST_PATH)


def _owners(request: Json, given: list[int]) -> Owners:
    """What a container in a user namespace wrote has other ids on the disk. One that runs (`given`, as above) has been
    joined there, and shows its own."""
    ids = request.get("ids")
    return AS_THEY_ARE if given or not ids else Owners(ids["uids"], ids["gids"])


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
            raise Invalid(f"cannot open {path}: {os.strerror(error.errno)}") from None
        raise


def _missing(path: str) -> str:
    return f"Could not find the file {path} in container"


def _stat(root: int, path: str, dirfd: int, name: bytes, status: os.stat_result) -> Json:
    shown = path.rstrip("/").rpartition("/")[2] or "/"
    return {
        "name": shown,
        "size": status.st_size,
        "mode": go_modes.of(status.st_mode),
        "mtime": status.st_mtime_ns,
        "linkTarget": _target(root, path, dirfd, name) if stat.S_ISLNK(status.st_mode) else "",
    }


def _target(root: int, path: str, dirfd: int, name: bytes) -> str:
    """Where a link leads in the end, as a path in the container; the first step only, when it leads nowhere. "" when it
    is none any more."""
    try:
        target = os.readlink(name, dir_fd=dirfd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise
        return ""
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


def _send(path: str, dirfd: int, name: bytes, status: os.stat_result, packer: Packer, root: int) -> Json:
    if name != b".":
        packer.add(dirfd, name, name, status)
        if stat.S_ISDIR(status.st_mode):
            _send_tree(tree.open_directory(name, dirfd), name + b"/", packer, root)
    else:
        last = path.rstrip("/").rpartition("/")[2]
        base = b"" if last in ("", "..") else os.fsencode(last)
        packer.add(dirfd, b".", base + b"/", status)
        _send_tree(dirfd, base + b"/", packer, root)
    return _ended(packer)


def _send_tree(top: int, prefix: bytes, packer: Packer, root: int) -> None:
    """As with dockerd nothing is sent of the kernel's own file systems (proc, sysfs ...) and of /dev but the directory:
    their files have no size, or one that they do not keep to, and some cannot be read."""
    above = os.fstat(root)

    def opener(name: Name, dirfd: int) -> int:
        fd = tree.open_directory(name, dirfd)
        devices = os.fsencode(name) == b"dev" and os.path.samestat(above, os.fstat(dirfd))
        if is_kernels_own(fd) or (devices and os.fstat(fd).st_dev != above.st_dev):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "not sent")
        return fd

    if not is_kernels_own(top):
        packer.tree(top, prefix, opener)


def _owner(root: int, user: str) -> tuple[int, int]:
    """ "USER[:GROUP]", by the container's own files: who its program is."""
    try:
        who = identity.resolve(root, user)
    except identity.UnknownUser as error:
        raise Invalid(str(error)) from None
    except OSError as error:
        raise Invalid(f"cannot look {user!r} up in the container: {error.strerror}") from None
    return who.uid, who.gid


# ----------------------------------------------------------------------------------------------------------- answers


def _serve(reply: socket.socket, work: Callable[[], Json], send: Callable[[], Json] | None) -> None:
    frame = _tried(work)
    with suppress(BrokenPipeError):  # the daemon does not wait for it any more
        wire.send(reply, frame)
        if send is not None and "ok" in frame:
            wire.send(reply, _tried(send))
    os._exit(0)


def _tried(work: Callable[[], Json]) -> Json:
    def translated() -> Json:
        try:
            return work()
        except BrokenPipeError:
            os._exit(0)  # the client has disconnected
        except OSError as error:
            raise _refused(error) from error

    return tried(translated)


def _refused(error: OSError) -> CortenError | OSError:
    """What a client can act on, where it is one of `_REFUSED` or a read-only file system; otherwise the error."""
    if error.errno == errno.EROFS:
        return Forbidden(str(error))
    if error.errno in _REFUSED:
        return _REFUSED[error.errno](f"cannot open the path: {os.strerror(error.errno)}")
    return error
