"""A guest that says nothing any more, by the docker client."""

from __future__ import annotations

import os
import signal
import time

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE


def test_one_that_is_silent_is_stopped(docker: Client) -> None:
    """Its machine stands still: neither signal is answered, and it ends as one that has to be killed."""
    docker("run", "-d", "--name", "silent", "--network", "none", IMAGE, "sleep", "1000")
    qemu = int(docker.out("inspect", "-f", "{{.State.Pid}}", "silent"))
    os.kill(qemu, signal.SIGSTOP)
    begun = time.monotonic()
    docker("stop", "-t", "1", "silent")
    assert time.monotonic() - begun < 15
    code, running = docker.out("inspect", "-f", "{{.State.ExitCode}} {{.State.Running}}", "silent").split()
    assert (code, running) == ("137", "false")
    assert not os.path.exists(f"/proc/{qemu}")
