"""A plugin of pods' networks: what it may write, for how long, and what it leaves."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from corten.errors import Failed
from corten.supervisor import cni
from e2e_parts.patience import PATIENCE


def run(root: Path, script: str, config: str = "{}", seconds: float = PATIENCE) -> tuple[int, str]:
    plugin = root / "plugin"
    plugin.write_text(f"#!/bin/sh\n{script}\n")
    plugin.chmod(0o755)
    request = {"plugin": str(plugin), "environment": {}, "config": config, "seconds": seconds}
    answer = cni._run(request, -1)
    return answer["status"], answer["output"]


@pytest.mark.parametrize(
    "script, status, output",
    [("cat", 0, "{}"), ("echo x; exit 3", 3, "x\n"), ("exec >&-; exit 4", 4, ""), ("exec /nowhere", 127, "")],
)
def test_an_answer(tmp_path: Path, script: str, status: int, output: str) -> None:
    assert run(tmp_path, script) == (status, output)


def test_a_configuration_that_is_not_read(tmp_path: Path) -> None:
    assert run(tmp_path, "echo x", "x" * (1 << 20)) == (0, "x\n")


def test_rubbish_without_an_end(tmp_path: Path) -> None:
    """It is ended as soon as it has said too much, and none of that is kept."""
    with pytest.raises(Failed, match="more than 1048576 bytes"):
        run(tmp_path, "exec yes")


@pytest.mark.parametrize("script", ["sleep 1000", "exec >&-; sleep 1000", "while echo x; do sleep 0.01; done"])
def test_no_end(tmp_path: Path, script: str) -> None:
    with pytest.raises(Failed, match="did not end within 100ms"):
        run(tmp_path, script, seconds=0.1)


def test_what_it_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    """Also when that has its output."""
    began = time.monotonic()
    script = f"sleep {PATIENCE * 10:.0f} & echo $!"
    status, output = run(tmp_path, script)
    assert status == 0 and time.monotonic() - began < PATIENCE
    os.kill(int(output), signal.SIGKILL)
