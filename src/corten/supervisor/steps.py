"""A short-lived child that makes a layer of what a RUN has changed (`supervisor.copies`: of what a COPY brings).

It answers with one frame, sends the tar of the layer, and says with a second frame how that ended. Trees are seen
through mounts without devices, and the process is confined to them before any of their bytes is looked at.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from corten.kernel import mount as m
from corten.layers import delta, stubs, tree
from corten.layers.confine import confine
from corten.layers.limits import LONGEST_PATH
from corten.layers.owners import Owners
from corten.layers.pack import Packer
from corten.layers.reowned import reown
from corten.supervisor import views, wire
from corten.supervisor.failures import tried

Json = dict[str, Any]


def layer(request: Json, fds: list[int]) -> None:
    """What was changed in the tree fds[2] (request["whole"]: it is no upper directory, but all files), to fds[1]. The
    places request["stubs"] that were made for mounts, and were not used, are taken away first, as is what was written
    to request["volumes"] of an upper directory. request["ids"]: it was written in a user namespace with these maps, and
    gets the ids that are inside."""
    found: list[Iterator[delta.Change]] = []

    def work() -> Json:
        own, below = m.view(fds[2]), base_of(request)
        confine(own, *below)
        if request["ids"] is not None:
            reown(tree.open_directory(b".", own), Owners(request["ids"]["uids"], request["ids"]["gids"]))
        base, whole = next(iter(below), None), bool(request["whole"])
        if not whole:
            stubs.take_back(own, base, map(os.fsencode, request["volumes"]))
        stubs.remove(own, base, map(os.fsencode, request["stubs"]), whole)
        found.append(delta.changes(own, base, whole, longest=LONGEST_PATH))
        return {}

    def send() -> Json:
        packer, size = Packer(fds[1]), 0
        for change in found[0]:
            if change.status is None:
                packer.whiteout(change.path)
            else:
                size += change.status.st_size if stat.S_ISREG(change.status.st_mode) else 0
                packer.add(change.dirfd, change.name, change.path, change.status)
        packer.end()
        return {"size": size, "left_out": packer.left_out}

    serve(fds[0], work, send)


def base_of(request: Json) -> tuple[int, ...]:
    """The tree below, where there is one."""
    return (views.of_mount(request["base"]),) if request["base"] is not None else ()


def serve(reply: int, work: Callable[[], Json], send: Callable[[], Json] | None) -> None:
    """Answer with what `work` finds, and after it with what `send` says of the data that it sent."""
    answers = socket.socket(fileno=reply)
    frame = tried(work)
    with suppress(BrokenPipeError):  # the daemon does not wait for it any more
        wire.send(answers, frame)
        if send is not None and "ok" in frame:
            wire.send(answers, tried(send))
    os._exit(0)
