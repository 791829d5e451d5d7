"""The launcher: one small process with everything loaded, from which others are forked.

The daemon starts it before it has any thread, and never forks itself. A request is one frame with its descriptors, the
first of which is a socket of the request's own: whoever is forked for it answers there, so the launcher itself never
writes, never waits, and keeps no state. It ends when the daemon does; what it forked does not.

It runs from a sealed interpreter (`seal`), so that what enters a container has an executable that no container can
write to (CVE-2019-5736), and has itself marked undumpable, which its children inherit.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from corten.kernel import process as p
from corten.runtime.init import close_all_but
from corten.supervisor import supervise, trees, wire
from corten.supervisor.failures import print_exception
from corten.supervisor.namespaces import make_namespaces, open_namespaces
from corten.supervisor.warmup import fill_pools, warm_up
from corten.supervisor.workers import copy_up, unpack

Json = dict[str, Any]


def _serve_names(request: Json, fds: list[int]) -> None:
    """Loaded only there: one process for each daemon needs it, and nothing of a container's is near."""
    from corten.supervisor.names.server import main

    main(request, fds)


_DO: dict[str, Callable[[Json, list[int]], None]] = {
    "supervise": supervise.main,
    "make namespaces": make_namespaces,
    "open namespaces": open_namespaces,
    "serve names": _serve_names,
    "unpack": unpack,
    "copy up": copy_up,
    "tree look": trees.look,
    "tree fetch": trees.fetch,
    "tree put": trees.put,
    "tree export": trees.export,
    "tree changes": trees.changes,
    "tree layer": trees.layer,
}


def main(fd: int) -> None:
    """Serve the daemon at the other end of `fd` until it is gone."""
    p.prctl(p.PR_SET_DUMPABLE, 0)
    os.setsid()  # the daemon's terminal is not the containers': no Ctrl-C, no SIGHUP from there
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    p.set_name("corten:launcher")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are nobody's to wait for
    gc.collect()
    filled = fill_pools()  # noqa: F841
    gc.freeze()  # what is there now is never visited again, so its pages stay shared with the children
    daemon = socket.socket(fileno=fd)
    decoder = wire.Decoder()
    while wire.receive(daemon, decoder):
        while frame := decoder.next():
            _fork(daemon, *frame)


def _fork(daemon: socket.socket, request: Json, fds: list[int]) -> None:
    """A child for this request; the descriptors are its own.

    Everything else is closed there: the socket to the daemon, and descriptors of requests that came at the same time.
    A supervisor lives for months, and whoever waits for the end of a descriptor that it holds would wait as long.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # without the enumerations of `signal`
            daemon.detach()
            close_all_but(fds)
            _DO[request["do"]](request, fds)
        except BaseException:
            print_exception()
        os._exit(1)
    for fd in fds:
        os.close(fd)


if __name__ == "__main__":
    main(int(sys.argv[1]))
