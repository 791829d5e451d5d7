"""A daemon with as many descriptors as it has connections: it says so once, and goes on when there are some again."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import ExitStack

from e2e_parts.patience import longer
from fault_parts.fragile import Fragile, until


def test_silent_clients_take_all_descriptors(daemon: Fragile, beside: Fragile) -> None:
    id = daemon.run("sleep", "1000")
    written = daemon.log.stat().st_size
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (128, hard))
    try:
        with ExitStack() as clients:
            for _ in range(200):
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(daemon.socket))
            until(lambda: "cannot take connections" in daemon.log.read_text(), "it is said")
            assert len(os.listdir(f"/proc/{daemon.pid}/fd")) <= 128
            waiting = clients.enter_context(daemon.connection())
            waiting.request("GET", "/_ping")  # behind all others

            def again() -> None:
                clients.pop_all().close()
                assert daemon.ask("GET", "/_ping")[0] == 200

            took, _ = longer(again, lambda: beside.get("/_ping"))
            assert took < 3
    finally:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    said = daemon.log.read_bytes()[written:].decode()
    assert said.count("cannot take connections") == 1 and "Traceback" not in said, said[:2000]
    assert daemon.inside(id, "true") == (0, "")
