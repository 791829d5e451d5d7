"""A machine's supervisor where it cannot say where it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from corten.supervisor import sockets, wire
from corten.supervisor.machine_owner import Owner, _why
from corten.supervisor.machine_requests import Begin


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    """The daemon hears of it at once, and there is no machine."""
    ours, theirs = socket.socketpair()
    with ours, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / sockets.SUPERVISOR))
        request = Begin("id", str(tmp_path), str(tmp_path), "/none", {}, ("", 0, 0), cast(Any, None))
        owner = Owner(request, [theirs.detach()])
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
            owner._pid, owner._end_fd = program.pid, os.pidfd_open(program.pid)
            owner._answers({"ok": {}})
            assert program.wait() == -signal.SIGKILL
        os.close(owner._end_fd)
        said, _ = next(iter(wire.frames(ours)))
        assert said["event"] == "failed" and "Address already in use" in str(said)
        owner._first.close()


@pytest.mark.parametrize(
    ("status", "words", "why"),
    [
        (1, ["a warning", "no such device"], "no such device"),
        (1, [], ""),
        (128 + signal.SIGABRT, ["assertion failed"], "assertion failed"),
        (128 + signal.SIGABRT, [], "QEMU was ended by signal 6 (SIGABRT)"),
        (128 + signal.SIGKILL, ["a warning"], "QEMU was ended by signal 9 (SIGKILL)"),
    ],
)
def test_why_it_has_ended(status: int, words: list[str], why: str) -> None:
    assert _why(status, words) == why
