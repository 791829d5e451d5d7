"""Short-lived children that look into a tree for who reads results of builds: one path at a time, links followed inside
the tree, as its own processes would."""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from corten.errors import Invalid, NotFound
from corten.kernel import paths
from corten.layers.confine import confine
from corten.spec import go_modes
from corten.supervisor import steps, views

Json = dict[str, Any]
_ENTRIES = 20_000
_PIECE = 1 << 20


def stat(request: Json, fds: list[int]) -> None:
    """What request["path"] of request["tree"] is, see `_entry`."""

    def work() -> Json:
        with _opened(request) as fd:
            return _entry(os.fstat(fd), request["path"].rstrip("/").rpartition("/")[2] or "/", "")

    steps.serve(fds[0], work, None)


def listing(request: Json, fds: list[int]) -> None:
    """{"entries"} of the directory request["path"], by name."""

    def work() -> Json:
        with _opened(request, os.O_RDONLY | os.O_DIRECTORY) as fd:
            names = sorted(os.listdir(fd), key=os.fsencode)
            if len(names) > _ENTRIES:
                raise Invalid(f"{request['path'][:200]} has more than {_ENTRIES} entries")
            return {"entries": [_found(fd, name) for name in names]}

    steps.serve(fds[0], work, None)


def content(request: Json, fds: list[int]) -> None:
    """At most request["length"] bytes of a file, from request["offset"] on, to fds[1]."""
    send: list[Callable[[], Json]] = []

    def work() -> Json:
        with _opened(request) as found:
            if not modes.S_ISREG(os.fstat(found).st_mode):
                raise Invalid(f"{request['path'][:200]} is no file")
            fd = paths.reopen(found, os.O_RDONLY)
        send.append(lambda: _sent(fd, fds[1], request["offset"], request["length"]))
        return {}

    steps.serve(fds[0], work, lambda: send[0]())


@contextmanager
def _opened(request: Json, flags: int = os.O_PATH) -> Iterator[int]:
    """Raises NotFound, in the words that clients look for; Invalid."""
    tree = views.of_mount(request["tree"])
    confine(tree)
    path = request["path"]
    try:
        fd = paths.open_in(tree, path, flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"{path[:200]}: {os.strerror(error.errno).lower()}") from None
        raise Invalid(f"{path[:200]}: {os.strerror(error.errno or 0).lower()}") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _found(directory: int, name: str) -> Json:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return _entry(status, name, os.readlink(name, dir_fd=directory) if modes.S_ISLNK(status.st_mode) else "")


def _entry(status: os.stat_result, name: str, link: str) -> Json:
    return {
        "name": name,
        "mode": go_modes.of(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "size": 0 if modes.S_ISDIR(status.st_mode) else status.st_size,
        "modified": status.st_mtime_ns,
        "link": link,
    }


def _sent(fd: int, out: int, offset: int, length: int) -> Json:
    while length and (piece := os.pread(fd, min(length, _PIECE), offset)):
        offset, length = offset + len(piece), length - len(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(out, view) :]
    return {}
