"""`corten cri` as the daemon keeps it: `"cri": {"start": true}`."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.spec.protobuf import cri
from e2e_parts.cortend import Cortend, short_root
from e2e_parts.patience import until
from e2e_parts.pods import Face, container_config, pod_config, private


@pytest.fixture
def served() -> Iterator[Cortend]:
    with short_root() as root, Cortend(root, "--config-file", str(root / "daemon.json")) as made:
        (root / "daemon.json").write_text(json.dumps({"cri": {"start": True, "cni-conf-dir": str(root / "none")}}))
        made.start()
        yield made


def listening(path: Path) -> int:
    """The process that does, 0 while none does."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return 0
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid


async def test_it_is_kept_running(served: Cortend) -> None:
    face = Face(served, served.root)
    face.socket = served.exec / "cri.sock"
    first = until(lambda: listening(face.socket))
    assert private(face.socket), "who may call it has root's power"
    pod = await face.pod(pod_config(face))
    container = await face.container(pod, container_config("sleep", "1000"))

    os.kill(first, signal.SIGKILL)
    second = until(lambda: listening(face.socket), lambda pid: pid not in (0, first))
    assert (await face.run(container, "echo", "still"))[0] == b"still\n"

    served.restart_killed()
    assert listening(face.socket) == second, "it does not end with a daemon that was killed"
    assert (await face.status(container)).state == cri.State.RUNNING
    os.kill(second, signal.SIGKILL)
    until(lambda: listening(face.socket), lambda pid: pid not in (0, second))
    await face.remove(pod)

    served.stop()
    until(lambda: not listening(face.socket))  # it ends with one that ends in order
