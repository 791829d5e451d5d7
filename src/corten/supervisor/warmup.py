"""What the launcher does once, so that each supervisor has less memory of its own.

A supervisor shares the launcher's pages until it writes to them, and Python writes where one would not expect it: the
first executions of a function specialise its bytecode and fill caches, and a new object goes wherever a page has room
left. So the launcher lives a supervisor's whole life before anything is forked, and takes all that room itself.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NoReturn

from corten.kernel import mount
from corten.kernel.cgroupfs import Hierarchy
from corten.runtime import cgroups, messages
from corten.supervisor import place, wire
from corten.supervisor.birth import inherit
from corten.supervisor.maker import Wishes
from corten.supervisor.supervise import live

Json = dict[str, Any]

_ROUNDS = 20  # specialisation waits for 16 executions (PEP 659)
# CPython keeps small objects of one size in pools of 16 KiB, each with a header (Objects/obmalloc.c).
_POOL = 16 << 10
_HEADER = 48
_MOST = 4  # pools of one size that are filled at most
_DESCRIPTORS = 100  # more than the launcher has


def warm_up() -> None:
    """Lives of a container without the container. Leaves nothing behind."""
    cgroups.here()
    directory = mount.new("tmpfs", ("mode=700",))  # mounted nowhere, gone with its descriptor
    try:
        os.mkdir(f"/proc/self/fd/{directory}/group")
        for _ in range(_ROUNDS):
            _life(f"/proc/self/fd/{directory}")
            _group(f"/proc/self/fd/{directory}")
    finally:
        os.close(directory)


def fill_pools() -> list[object]:
    """Small objects in every place that is free in a pool which is partly used, for as long as the answer is kept.

    What a supervisor makes then begins new pools: it lies together, and no page is copied for the sake of one object.
    """
    kept: list[object] = []
    for size in range(16, 512 + 1, 16):
        capacity = (_POOL - _HEADER) // size
        taken: dict[int, int] = {}  # by pool
        for _ in range(_MOST * capacity):
            filler = _filler(size)
            kept.append(filler)
            pool = id(filler) // _POOL
            taken[pool] = taken.get(pool, 0) + 1
            if taken[pool] == capacity:  # a whole one, so there was none with room left
                break
    return kept


def _filler(size: int) -> object:
    """An object of so many bytes, a multiple of 16 up to 512."""
    if size == 16:
        return object()
    return float("1.5") if size == 32 else bytes(size - b"".__sizeof__())


def _life(place_: str) -> None:
    """One container that says a word and ends, below the directory `place_`."""
    daemon, control = socket.socketpair()
    client, stream = socket.socketpair()
    inherit([*range(_DESCRIPTORS), _DESCRIPTORS + 1])
    request = {
        "do": "create", "run": f"{place_}/run", "bundle": place_, "born": [], "cgroup": "",
        "open_stdin": True, "log": {"path": os.devnull},
        "streams": [{"mux": True, "stdin": True, "early": "", "detach_keys": "", "replay": ""}],
    }  # fmt: skip
    with daemon, client, stream:
        wire.send(daemon, request, [stream.fileno()])
        wire.send(daemon, {"id": 1, "do": "start"}, [])
        live(control.detach(), _become)


def _group(place_: str) -> None:
    """What a supervisor does for its container's control group, where that is only a directory."""
    layout = cgroups.Layout((Hierarchy(place_, 2, frozenset()),))
    directory = cgroups.make_unified(layout, "/group/container")
    assert directory is not None
    os.close(directory)
    os.rmdir(f"{place_}/group/container")


def _become(request: Json, wishes: Wishes, reply: socket.socket) -> NoReturn:
    """In place of `maker.become`."""
    ours, theirs = messages.pair()
    place.prepare(request["run"], request["bundle"])
    listener = place.settle(request["run"], os.getpid(), wishes.supervisor)
    answer = {"own_pids": True, "timing": {}, "warnings": [], "oom": False}
    wire.send(reply, answer, [ours.fileno(), listener.fileno()])
    messages.send(theirs, messages.READY, timing={"begin": 0.001}, warnings=[])
    messages.expect(theirs, messages.START)
    assert wishes.stdio is not None
    os.write(wishes.stdio[1], b"a line\n")
    os._exit(0)
