"""A guest that says nothing any more, or whose machine is gone, by the docker client."""

from __future__ import annotations

import os
import signal

import pytest

from e2e_parts.clients import Client, finish
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.patience import longer, until


def test_one_that_is_silent_is_stopped(docker: Client) -> None:
    """Its machine stands still: neither signal is answered, and it ends as one that has to be killed."""
    docker("run", "-d", "--name", "silent", "--network", "none", IMAGE, "sleep", "1000")
    qemu = int(docker.out("inspect", "-f", "{{.State.Pid}}", "silent"))
    os.kill(qemu, signal.SIGSTOP)
    took, _ = longer(lambda: docker("stop", "-t", "1", "silent"), lambda: docker("ps"))
    assert took < 15
    code, running = docker.out("inspect", "-f", "{{.State.ExitCode}} {{.State.Running}}", "silent").split()
    assert (code, running) == ("137", "false")
    until(lambda: not os.path.exists(f"/proc/{qemu}"))  # its supervisor reaps it behind the answer


@pytest.mark.parametrize("followed", ["run", "wait"])
def test_the_end_of_qemu_is_137(docker: Client, daemon: Cortend, followed: str) -> None:
    """For the one that is attached, one that waits, and one that asks afterwards. Inspect says why it has ended."""
    command = ("run", "-d", "--name", "lost", "--network", "none", IMAGE, "sleep", "1000")
    if followed == "run":
        following = docker.popen(*(word for word in command if word != "-d"))
        until(lambda: [row["State"] for row in daemon.containers()] == ["running"])
    else:
        docker(*command)
        following = docker.popen("wait", "lost")
    os.kill(int(docker.out("inspect", "-f", "{{.State.Pid}}", "lost")), signal.SIGKILL)
    done = finish(following)
    assert (done.code, done.out) == ((137, "") if followed == "run" else (0, "137\n")), done
    assert docker.out("wait", "lost") == "137"
    code, error = docker.out("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "lost").split(" ", 1)
    assert code == "137" and error
