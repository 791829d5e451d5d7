"""A second daemon in the first one's place is refused."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from fault_parts.fragile import Fragile, until


def refused(second: Fragile) -> str:
    """What a daemon says that ends at once with status 1; it is killed when it does not.

    "At once" is 5 s, or on a busy machine ten times what the same program takes to check its configuration.
    """
    began = time.monotonic()
    subprocess.run([*second.command, "--validate"], check=True, capture_output=True, timeout=60)
    checked = time.monotonic()
    try:
        done = subprocess.run(second.command, capture_output=True, text=True, timeout=60)
    finally:
        took = time.monotonic() - checked
        subprocess.run(["ip", "link", "delete", second.bridge], capture_output=True, timeout=60)
    assert done.returncode == 1, done
    assert took < max(5, 10 * (checked - began))
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("shared", ["data", "exec", "socket"])
def test_second_daemon(daemon: Fragile, tmp_path: Path, shared: str) -> None:
    id = daemon.run("sleep", "1000")
    second = Fragile(tmp_path)
    setattr(second, shared, getattr(daemon, shared))
    second.address = f"unix://{second.socket}"
    said = refused(second)
    assert str(getattr(daemon, shared)) in said and said.count("\n") == 1, said
    assert daemon.state(id)["Running"] and daemon.inside(id, "true") == (0, "")


def test_second_daemon_by_another_name_of_the_directory(daemon: Fragile, tmp_path: Path) -> None:
    second = Fragile(tmp_path)
    second.data = tmp_path / "link"
    second.data.symlink_to(daemon.data)
    assert "in use by another daemon" in refused(second)
    assert daemon.outcome("true") == (0, "")


def test_second_daemon_on_the_same_bridge(daemon: Fragile, tmp_path: Path) -> None:
    id = daemon.run("sleep", "1000")
    second = Fragile(tmp_path)
    bridge, second.bridge = second.bridge, daemon.bridge
    command = second.command
    second.bridge = bridge  # what `refused` takes away
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    assert daemon.bridge in done.stderr
    assert daemon.inside(id, "true") == (0, "")
    assert daemon.outcome("true") == (0, "")


def test_socket_of_a_killed_daemon_is_taken(daemon: Fragile) -> None:
    daemon.kill()
    assert daemon.socket.is_socket()
    daemon.start()
    assert daemon.outcome("true") == (0, "")


def test_two_sigterms(daemon: Fragile) -> None:
    assert daemon._process is not None
    daemon._process.terminate()
    daemon._process.terminate()
    assert daemon._process.wait(60) == 0
    daemon.start()


def test_killed_while_it_starts(daemon: Fragile) -> None:
    """In the middle of taking up what was left, at several moments."""
    id = daemon.run("sleep", "1000")
    pid = daemon.state(id)["Pid"]
    daemon.kill()
    for moment in (0.1, 0.2, 0.3, 0.4):
        process = subprocess.Popen(daemon.command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait(60)
    daemon.start()
    until(lambda: daemon.state(id)["Pid"] == pid, "it runs")
    assert daemon.inside(id, "true") == (0, "")
