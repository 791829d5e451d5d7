"""The launcher: one small process with all that a start needs loaded, from which others are forked.

The daemon starts it before it has any thread, and never forks itself. A request is one frame with its descriptors, the
first of which is a socket of the request's own: the process that is forked for it answers there, so the launcher itself
never writes, never waits, and keeps no state. It ends when the daemon does; what it forked does not.

It runs from a sealed interpreter (`seal`), so that what enters a container has an executable that no container can
write to (CVE-2019-5736), and has itself marked undumpable, which its children inherit.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from corten.kernel import process as p
from corten.supervisor import loaded, supervise, wire
from corten.supervisor.failures import print_exception
from corten.supervisor.forked import inherit
from corten.supervisor.namespaces import make_namespaces, serve_namespaces
from corten.supervisor.warmup import fill, warm_up

Json = dict[str, Any]


_AT_HAND: dict[str, Callable[[Json, list[int]], None]] = {
    "supervise": supervise.main,
    "make namespaces": make_namespaces,
    "serve namespaces": serve_namespaces,
}

# Loaded by who is forked for it: what a start does not need would be in every supervisor's way.
_SERVERS = {
    "hold": ("corten.supervisor.holder", "hold"),
    "own machine": ("corten.supervisor.machine_owner", "main"),
    "serve names": ("corten.supervisor.names.server", "main"),
    "forward ports": ("corten.supervisor.forwarder.server", "main"),
    "fork for builds": ("corten.supervisor.building", "main"),
    "fork for pods": ("corten.supervisor.of_pods", "main"),
    "execute": ("corten.supervisor.program", "execute"),
}
_HELPERS = {  # these end with the request's own socket
    "unpack": ("corten.supervisor.workers", "unpack"),
    "unpack files": ("corten.supervisor.workers", "unpack_files"),
    "make directory": ("corten.supervisor.workers", "make_directory"),
    "copy up": ("corten.supervisor.workers", "copy_up"),
    "make image": ("corten.supervisor.block_images", "image"),
    "cni": ("corten.supervisor.cni", "run"),
    "make disk": ("corten.supervisor.block_images", "disk"),
    "step layer": ("corten.supervisor.steps", "layer"),
    "step sum": ("corten.supervisor.copies", "sum"),
    "step user": ("corten.supervisor.copies", "user"),
    "step files": ("corten.supervisor.copies", "files"),
    "step copy": ("corten.supervisor.copies", "copy"),
    "output tar": ("corten.supervisor.outputs", "tar"),
    "output send": ("corten.supervisor.outputs", "send"),
    "output digests": ("corten.supervisor.digests", "files"),
    "step packages": ("corten.supervisor.packages", "packages"),
    "git commit": ("corten.supervisor.git", "commit"),
    "git files": ("corten.supervisor.git", "files"),
    "tree stat": ("corten.supervisor.reading", "stat"),
    "tree list": ("corten.supervisor.reading", "listing"),
    "tree content": ("corten.supervisor.reading", "content"),
    "tree look": ("corten.supervisor.trees", "look"),
    "tree fetch": ("corten.supervisor.trees", "fetch"),
    "tree put": ("corten.supervisor.trees", "put"),
    "tree export": ("corten.supervisor.trees", "export"),
    "tree changes": ("corten.supervisor.trees", "changes"),
    "tree layer": ("corten.supervisor.trees", "layer"),
    "convert disk": ("corten.supervisor.disk_work", "convert"),
    "fill disk": ("corten.supervisor.block_images", "filled_disk"),
    "boot files": ("corten.supervisor.boot_files", "take"),
    "guest parts": ("corten.supervisor.machines", "parts"),
    "guest boot": ("corten.supervisor.machines", "boot"),
    "guest keep": ("corten.supervisor.machines", "keep"),
}


def main(fd: int) -> None:
    """Serve the daemon at the other end of `fd` until it is gone."""
    p.prctl(p.PR_SET_DUMPABLE, 0)
    os.setsid()  # the daemon's terminal is not the containers': no Ctrl-C, no SIGHUP from there
    os.chdir("/")
    os.umask(
        0o022
    )  # not the daemon's, which is 077: control groups are made, and other runtimes' containers inherit it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loaded.remember()
    warm_up()
    p.own_arguments()
    p.set_name("corten:launcher", of="")
    serve(fd)


def serve(fd: int) -> None:
    """Fork for each request that comes at `fd`, until its other end is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    sys.path_importer_cache.clear()  # or each first process does it, in pages of its own
    gc.collect()
    fill()
    gc.freeze()  # what is there now is never visited again, so its pages stay shared with the children
    for request, fds in wire.frames(socket.socket(fileno=fd)):
        if _wanted(fds[0]):
            _fork(request, fds)
        for fd in fds:
            os.close(fd)


def _wanted(answers: int) -> bool:
    """Whether the other end of a request's own socket is there: the daemon does not wait for a stopped launcher."""
    poll = select.poll()
    poll.register(answers, 0)  # POLLHUP comes unasked
    return not poll.poll(0)


def _fork(request: Json, fds: list[int]) -> None:
    """A child for this request; the descriptors are its own."""
    pid = os.fork()
    if pid == 0:
        try:
            inherit(fds)
            p.set_title(request["do"])
            if request["do"] in _HELPERS:
                importlib.import_module("corten.supervisor.hangup").end_with(fds[0])
            _work(request["do"])(request, fds)
        except BaseException:
            print_exception()
        os._exit(1)


def _work(name: str) -> Callable[[Json, list[int]], None]:
    if name in _AT_HAND:
        return _AT_HAND[name]
    module, function = _SERVERS.get(name) or _HELPERS[name]
    found: Callable[[Json, list[int]], None] = getattr(importlib.import_module(module), function)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
