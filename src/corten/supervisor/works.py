"""Work on the tree of an instance whose processes are the host's, done by a child of its supervisor.

The child does what a helper of the launcher does for `cp` and `export` (`trees`), which it loads when it is needed: a
supervisor lives for months and is asked for this by no daemon as long as its container is one (docs/architecture.md).
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any, NoReturn

from corten.error_codec import encode
from corten.errors import NotFound, Unsupported
from corten.instance.contract import Changes, Layer, TreeRequest
from corten.kernel import process as p
from corten.supervisor import loaded, wire
from corten.supervisor.failures import EXPECTED, print_exception
from corten.supervisor.forked import inherit
from corten.supervisor.procfs import open_process, open_tree
from corten.supervisor.requests import Create, encode_tree

Json = dict[str, Any]


class HostWork:
    """`corten.instance.contract.Work` of a child."""

    def __init__(self, pidfd: int) -> None:
        self.ended = pidfd

    def end(self) -> None:
        signal.pidfd_send_signal(self.ended, signal.SIGKILL)

    def reap(self) -> None:
        self.ended, pidfd = -1, self.ended
        p.reap(pidfd)


def begin(create: Create, pid: int, request: TreeRequest, reply: int, data: int) -> HostWork:
    """See `Instance.work`; `pid` is the first process, a child of the caller's that has not been reaped.

    Unsupported when the code that it needs is of another version by now.
    """
    if loaded.has_changed():
        raise Unsupported("Corten was upgraded since this container was started: restart it for this")
    body, tree = encode_tree(request), []
    if isinstance(request, (Changes, Layer)):
        body["base"], own = _layers(create)
        tree = [os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    else:
        tree = _tree_of(pid)
    fds = [fd for fd in (reply, data) if fd >= 0] + tree
    try:
        child, pidfd = p.clone3(0)
        if child == 0:
            _work(create, body, fds)
    finally:
        for fd in tree:
            os.close(fd)
    return HostWork(pidfd)


def _tree_of(pid: int) -> list[int]:
    try:
        process = open_process(pid)
        try:
            return [*open_tree(process)]
        finally:
            os.close(process)
    except (FileNotFoundError, ProcessLookupError):
        raise NotFound("the container is not running") from None


def _layers(create: Create) -> tuple[Json, str]:
    """The mount of what is below, and the directory of what the instance wrote. Both are read-only here."""
    (root,) = create.rootfs or ({},)
    values = dict(option.split("=", 1) for option in root.get("options") or () if "=" in option)
    if not {"lowerdir", "upperdir"} <= values.keys():
        raise Unsupported("what has changed in a tree without layers is found by its snapshot, not by its supervisor")
    return _below(values["lowerdir"], root["options"]), values["upperdir"]


def _below(lower: str, options: Sequence[str]) -> Json:
    if ":" not in lower:  # overlay wants two at least
        return {"type": "bind", "source": lower, "destination": "/", "options": ["rbind", "ro"]}
    others = [option for option in options if not option.startswith(("upperdir=", "workdir="))]
    return {"type": "overlay", "source": "overlay", "destination": "/", "options": ["ro", *others]}


def _work(create: Create, request: Json, fds: list[int]) -> NoReturn:
    try:
        inherit(fds)
        p.set_name("corten:tree")
        _do(create, request, fds)
    except EXPECTED as error:
        wire.send(socket.socket(fileno=fds[0]), {"error": encode(error)})
    except BaseException:  # a bug; this process must not go on as if it were the supervisor
        print_exception()
    os._exit(1)


def _do(create: Create, request: Json, fds: list[int]) -> None:
    from corten.supervisor import hangup, trees

    hangup.end_with(fds[0])
    if "base" in request:
        request["ids"] = _id_maps(create)
    getattr(trees, request["do"].removeprefix("tree "))(request, fds)


def _id_maps(create: Create) -> Json | None:
    """Of a container in a user namespace: what it wrote has the host's ids."""
    with open(os.path.join(create.bundle, "config.json"), "rb") as file:
        linux = json.load(file).get("linux") or {}
    maps = {"uids": linux.get("uidMappings") or (), "gids": linux.get("gidMappings") or ()}
    if not all(maps.values()):
        return None
    return {name: [[m["containerID"], m["hostID"], m["size"]] for m in lines] for name, lines in maps.items()}
