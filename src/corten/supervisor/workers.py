"""Short-lived children that touch trees of images: unpacking a layer, filling a new volume."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any

from corten.errors import Invalid
from corten.kernel import mount as m
from corten.kernel import paths
from corten.layers import copy, worker
from corten.layers.confine import confine
from corten.layers.entries import Limits
from corten.runtime import mountplan
from corten.supervisor import views, wire
from corten.supervisor.failures import tried

Json = dict[str, Any]
_CONTEXT = Limits(bytes=1 << 37, file=1 << 37, inodes=2_000_000)


def unpack(request: Json, fds: list[int]) -> None:
    """Apply the tar stream fds[1] to the directory fds[2]; answer with what `layers.worker.unpack` returns."""
    reply = socket.socket(fileno=fds[0])
    _answer(reply, lambda: worker.unpack(fds[2], fds[1]))


def unpack_files(request: Json, fds: list[int]) -> None:
    """The same for a tar that is no layer, but a build's context, to fds[3]. What a `Memory` needs of its files is
    written to fds[2], request["memory"] bytes at most. request["owned"]: owners are the tar's. request["again"]: an
    earlier context is in the directory."""
    from corten.layers.again import ApplyingAgain  # which layers of images do not need
    from corten.layers.sums import Written

    reply = socket.socket(fileno=fds[0])
    written = Written(request["memory"])

    def unpack() -> Json:
        kind = ApplyingAgain if request["again"] else None
        how = {"layer": False, "written": written, "owned": request["owned"], "kind": kind}
        found = worker.unpack(fds[3], fds[1], _CONTEXT, **how)
        with open(fds[2], "wb", closefd=False) as file:
            file.write(written.data)
        return found

    _answer(reply, unpack)


def copy_up(request: Json, fds: list[int]) -> None:
    """Fill the empty volume fds[1], or the file system request["volume"] if that is empty, with what the image has at
    request["path"]; nothing when it has no directory there.

    The image's tree is mounted for this process alone, which is confined to what it reads there and to the volume.
    Other containers may have that as well, and change it meanwhile.
    """
    reply = socket.socket(fileno=fds[0])

    def fill() -> Json:
        (root,) = request["rootfs"]
        tree = views.of_mount(root)
        try:
            source = paths.open_in(tree, request["path"], os.O_PATH | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return {"copied": False}
        volume = _empty_volume(request["volume"]) if "volume" in request else m.view(fds[1])
        if volume < 0:
            return {"copied": False}
        confine(source, volume)
        uids, gids = request["uids"], request["gids"]
        copy.fill(source, volume, lambda uid, gid: (_mapped(uid, uids), _mapped(gid, gids)))
        return {"copied": True}

    _answer(reply, fill)


def _empty_volume(entry: Json) -> int:
    """A mount of a volume that is a file system; -1 when there is anything in it."""
    volume = views.of_volume(mountplan.parse(entry))
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=volume)
    with os.scandir(readable) as entries:
        empty = next(entries, None) is None
    os.close(readable)
    return volume if empty else -1


def make_directory(request: Json, fds: list[int]) -> None:
    """`mkdir -p` of request["path"] in a container's tree that nothing else has mounted, for request["owner"]."""
    reply = socket.socket(fileno=fds[0])
    path = request["path"]

    def make() -> Json:
        (root,) = request["rootfs"]
        tree = views.of_mount(root)
        confine(tree)
        uid, gid = request["owner"]
        try:
            os.close(paths.make_directories(tree, path, owner=(uid, gid)))
        except NotADirectoryError:
            raise Invalid(f"cannot make the directory {path}: something else is in its place") from None
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT, errno.EINVAL):
                raise Invalid(f"cannot make the working directory: {os.strerror(error.errno)}") from None
            raise
        return {}

    _answer(reply, make)


def _mapped(id: int, lines: list[list[int]]) -> int:
    """The host's number of a container's id; the same without a map, the overflow id outside of it."""
    for inside, outside, count in lines:
        if inside <= id < inside + count:
            return outside + id - inside
    return 65534 if lines else id


def _answer(reply: socket.socket, work: Any) -> None:
    with suppress(BrokenPipeError):  # the daemon does not wait for it any more
        wire.send(reply, tried(work))
    os._exit(0)
