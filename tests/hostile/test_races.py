"""A container exchanges a directory for a link while another one is started with mounts below it.

CORTEN_RACES says how many starts; a night's run takes thousands.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from fault_parts.fragile import Fragile, until
from fault_parts.images import python, python_binds
from image_parts.trees import listing

ROUNDS = int(os.environ.get("CORTEN_RACES", "40"))

SWAP = """
import ctypes, os
libc = ctypes.CDLL(None)
os.makedirs("/vol/real/y", exist_ok=True)
os.symlink(%r, "/vol/link")
os.rename("/vol/real", "/vol/x")
print("ready", flush=True)
while True:
    libc.renameat2(-100, b"/vol/x", -100, b"/vol/link", 2)
"""


def mounted(marks: Sequence[str]) -> list[str]:
    """Mounts of this machine that have one of these words: others come and go with other tests."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if any(mark in line for mark in marks)]


def test_mount_targets_in_a_shared_volume(daemon: Fragile, tmp_path: Path) -> None:
    """ESC-24; CVE-2021-30465, CVE-2024-45310: a mount lands in its container, or the start fails."""
    canary = tmp_path / "canary"
    (canary / "y").mkdir(parents=True)
    (canary / "secret").write_text("token")
    before, volume = listing(canary), f"v{secrets.token_hex(4)}"
    marks = (str(canary), volume, "/etc ", "/hostname ")  # where one could land, and the roots of what is mounted
    mounts = mounted(marks)
    binds = [f"{volume}:/vol"]
    attacker = daemon.run(*python(SWAP % str(canary)), host={"Binds": [*binds, *python_binds()]})
    until(lambda: "ready" in daemon.output(attacker) or not daemon.state(attacker)["Running"], "the attacker")
    assert daemon.state(attacker)["Running"], daemon.output(attacker)
    targets = ("/vol/x", "/vol/x/y", "/vol/x/new/deep", "/vol/x/file")
    started = 0
    for round_ in range(ROUNDS):
        target = targets[round_ % len(targets)]
        source = "/etc/hostname" if target.endswith("file") else "/etc"
        host = {"Binds": [*binds, f"{source}:{target}:ro"]}
        id = daemon.create("sh", "-c", "cat /vol/x/secret /vol/link/secret", host=host)
        status, answer = daemon.ask("POST", f"/containers/{id}/start")
        assert status == 204 or answer["message"], answer
        if status == 204:
            started += 1
            daemon.wait(id)
            assert "token" not in daemon.output(id)
        assert daemon.ask("DELETE", f"/containers/{id}?force=1")[0] == 204
        assert listing(canary) == before
    assert mounted(marks) == mounts
    assert started, "not one of them could be started"
