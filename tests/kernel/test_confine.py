"""A process that reads hostile bytes keeps what making files needs, below one directory, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

_IN_A_PROCESS_OF_ITS_OWN = """
import json, os, socket, sys
from corten.layers.confine import confine
tree, status = os.open(sys.argv[1], os.O_RDONLY), os.open("/proc/self/status", os.O_RDONLY)
had = confine(tree)
def refused(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "landlock": had.landlock, "network": had.network,
    "inside": refused(lambda: os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=tree))),
    "outside": refused(lambda: os.close(os.open(sys.argv[2], os.O_RDONLY))),
    "chroot": refused(lambda: os.chroot("/")),
    "status": os.pread(status, 8192, 0).decode(),
}))
"""
KEPT = sum(1 << number for number in (0, 1, 2, 3, 4, 21, 27, 31))  # capabilities(7)


def test_confinement(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "secret").write_text("secret")
    command = [sys.executable, "-c", _IN_A_PROCESS_OF_ITS_OWN, str(tmp_path / "tree"), str(tmp_path / "secret")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    status = dict(line.split(":\t", 1) for line in seen["status"].splitlines() if ":\t" in line)
    own = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == KEPT & int(own["CapPrm"], 16)
    assert int(status["CapBnd"], 16) == KEPT & int(own["CapBnd"], 16)
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert seen["inside"] == "done" and seen["chroot"] == "PermissionError"
    assert seen["network"] is True
    if not seen["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert seen["outside"] == "PermissionError"
