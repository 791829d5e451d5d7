"""Sockets that systemd passes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from corten.daemon import sockets
from corten.daemon.config import Config
from corten.errors import Invalid
from e2e_parts.patience import PATIENCE

PASSED = [sockets.Listener("fd://3", socket.socket())]
PASSED[0].socket.close()

# A process that is given listening sockets as systemd does, then starts another one, as the daemon does its launcher.
SCRIPT = """
import fcntl, os, subprocess, sys
kept = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 20) for number in sys.argv[2:]]
for number, fd in zip((3, 4), kept):
    os.dup2(fd, number)
os.closerange(5, 20)
from corten.daemon import sockets
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[1]))
found = sockets.passed()
print([listener.address for listener in found])
print(sorted(name for name in os.environ if name.startswith("LISTEN_")), flush=True)
look = "for one in 3 4; do [ ! -e /proc/self/fd/$one ] || echo inherited $one; done"
subprocess.run(["sh", "-c", look], close_fds=False)
for listener in found:
    print(listener.socket.fileno(), listener.socket.getblocking())
"""


def given(tmp_path: Path, other: int, count: str = "2") -> list[str]:
    """What SCRIPT prints, with sockets at 3 and 4. `other` is added to its process id."""
    listening = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
    for number, each in enumerate(listening):
        each.bind(str(tmp_path / str(number)))
        each.listen()
    first, second = (each.fileno() for each in listening)
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(other), str(first), str(second)],
            pass_fds=(first, second),
            capture_output=True,
            text=True,
            env={**os.environ, "LISTEN_FDS": count, "LISTEN_FDNAMES": "a:b"},
            timeout=PATIENCE,
        )
    finally:
        for each in listening:
            each.close()
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_they_are_the_daemons_alone(tmp_path: Path) -> None:
    """No process that it starts has them: one that outlives it would keep clients waiting."""
    assert given(tmp_path, 0) == ["['fd://3', 'fd://4']", "[]", "3 False", "4 False"]


@pytest.mark.parametrize(("other", "count"), [(1, "2"), (0, ""), (0, "x"), (0, "0"), (0, "-1")])
def test_for_another_process_or_none(tmp_path: Path, other: int, count: str) -> None:
    assert given(tmp_path, other, count)[:2] == ["[]", "[]"]


def test_they_are_the_default() -> None:
    assert sockets.listeners(Config(), PASSED) == PASSED
    assert sockets.listeners(Config(hosts=("fd://",)), PASSED) == PASSED
    assert sockets.listeners(Config(hosts=("fd://*",)), PASSED) == PASSED


def test_a_daemon_that_would_leave_them_alone_is_refused() -> None:
    with pytest.raises(Invalid, match="hosts has no fd://"):
        sockets.check(Config(hosts=("unix:///run/other.sock",)), PASSED)
    sockets.check(Config(), PASSED)
    sockets.check(Config(hosts=("unix:///run/other.sock", "fd://")), PASSED)
    sockets.check(Config(hosts=("unix:///run/other.sock",)), [])


def test_fd_without_any_and_by_name() -> None:
    with pytest.raises(Invalid, match="no sockets were passed"):
        sockets.listeners(Config(hosts=("fd://",)), [])
    with pytest.raises(Invalid, match="there is only fd://"):
        sockets.listeners(Config(hosts=("fd://cortend.socket",)), PASSED)


def test_files_that_this_daemon_made_go_with_its_end(tmp_path: Path) -> None:
    opened = sockets.listeners(Config(hosts=(f"unix://{tmp_path}/s",)), [])
    assert (tmp_path / "s").is_socket()
    sockets.remove_files([*opened, sockets.Listener("fd://3", opened[0].socket)])
    assert list(tmp_path.iterdir()) == []
    sockets.remove_files(opened)
    opened[0].socket.close()
