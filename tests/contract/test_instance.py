"""One suite for the seam `Instance`: our own runtime (both ways to make a process), runc, crun, and a guest whose
machine is a process (`guests`). The cases are in `instance_parts`.

Each case has a process of its own, as each instance has a supervisor: another OCI binary's container becomes its child,
and its root is mounted in a mount namespace of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.runtime import cgroups
from corten.tasks.leftovers import remove_cgroup
from instance_parts.cases import CASES, NETWORKS
from instance_parts.world import BUSYBOX, Case, World, remove_group, run_case

IMPLEMENTATIONS = ["corten", "corten by a helper", "/usr/sbin/runc", "/usr/bin/crun", "vm"]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static"),
]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_instance(function: Case, implementation: str, tmp_path: Path) -> None:
    if implementation.startswith("/") and not os.path.exists(implementation):
        pytest.skip(f"needs {implementation} (Debian's {os.path.basename(implementation)})")
    if function in NETWORKS and not os.path.exists("/dev/net/tun"):
        pytest.skip("needs /dev/net/tun")
    if implementation.endswith("crun") and len({h.version for h in cgroups.detect().hierarchies if h.controllers}) > 1:
        pytest.skip("needs all controllers in control groups of one version: crun supports no others")
    said = tmp_path / "said"
    pid = os.fork()
    if pid == 0:
        _run(function, tmp_path, implementation, said)
    _, status = os.waitpid(pid, 0)
    _, left = remove_cgroup(f"/corten-instance-{pid}/instance-{tmp_path.name}-{pid}")
    remove_group(pid)
    assert status == 0, said.read_text()
    assert implementation == "vm" or not left  # a machine would take its groups with it


def _run(function: Case, root: Path, implementation: str, said: Path) -> None:
    run_case(lambda: function(World(root, implementation)), said)
