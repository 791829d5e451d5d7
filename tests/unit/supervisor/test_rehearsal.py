"""The run that a launcher rehearses before it serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e_parts.patience import until
from fault_parts.fragile import alive

# What it waits for comes by connections of which it has both ends, as those of a launcher's fork are.
SCRIPT = """
import os, signal, socket, sys
from types import SimpleNamespace
from corten.supervisor import warmup
ours, theirs = socket.socketpair()
request = SimpleNamespace(run=sys.argv[1] + "/run", bundle=sys.argv[1])
launcher = os.getpid()
child = os.fork()
if child == 0:
    if sys.argv[2] == "before":
        while os.getppid() == launcher:
            pass
    warmup._become(request, SimpleNamespace(supervisor=launcher, stdio=(0, 1, 2)), theirs)
print(child, flush=True)
if sys.argv[2] == "behind":
    ours.recv(1)  # it has answered
os.kill(launcher, signal.SIGKILL)
"""


@pytest.mark.parametrize("killed", ["before", "behind"])
def test_its_program_ends_with_the_launcher(tmp_path: Path, killed: str) -> None:
    """A daemon that cannot start kills its launcher, wherever that is: nothing is left of it."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), killed]
    launcher = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    assert launcher.returncode == -9
    until(lambda: not alive(int(launcher.stdout)))
