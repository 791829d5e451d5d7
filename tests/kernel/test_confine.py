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
import ctypes, json, os, socket, sys
from corten.kernel import process, syscall
from corten.kernel import descriptors
from corten.layers.confine import confine
tree, status = os.open(sys.argv[1], os.O_RDONLY), os.open("/proc/self/status", os.O_RDONLY)
above = os.open(sys.argv[1] + "/..", os.O_RDONLY)
os.symlink(sys.argv[2], "link", dir_fd=tree)
keyctl = ctypes.CDLL(None).syscall
process.join_new_session_keyring()
key = keyctl({"x86_64": 248}.get(os.uname().machine, 217), b"user", b"corten-test", b"private", 7, -3)  # add_key(2)
had = confine(tree)
def refused(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"
print(json.dumps({
    "landlock": had.landlock, "network": had.network, "root": had.root, "proc": refused(lambda: os.stat("/proc")),
    "inside": refused(lambda: os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=tree))),
    "outside": refused(lambda: os.close(os.open(sys.argv[2], os.O_RDONLY))),
    "outside by a descriptor": refused(lambda: os.close(os.open("secret", os.O_RDONLY, dir_fd=above))),
    "mode through a link": refused(lambda: os.chmod("link", 0o777, dir_fd=tree)),
    "owner through a link": refused(lambda: os.chown("link", 7, 7, dir_fd=tree)),
    "own mode": refused(lambda: os.chmod(descriptors.path(tree), 0o750)),
    "chroot": refused(lambda: os.chroot("/")),
    "key": keyctl(syscall.SYS_keyctl, 11, key, None, 0, 0),
    "status": os.pread(status, 8192, 0).decode(),
}))
"""
KEPT = sum(1 << number for number in (0, 1, 2, 3, 4, 21, 27, 31))  # capabilities(7)


def test_confinement(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o600)
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
    assert seen["key"] == -1, "KEYCTL_READ"
    # Landlock says nothing about these, and nothing of the host is there to be led to
    assert seen["root"] is True and seen["proc"] == "FileNotFoundError"
    assert seen["outside"] == seen["mode through a link"] == seen["owner through a link"] == "FileNotFoundError"
    assert seen["own mode"] == "done" and (tmp_path / "tree").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    if not seen["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert seen["outside by a descriptor"] == "PermissionError"
