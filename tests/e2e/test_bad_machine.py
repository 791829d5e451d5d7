"""Machines that lack something: one line that names it, and everything else works."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import CORTEND, IMAGE, Cortend
from e2e_parts.others import need


def test_a_kernel_that_is_too_old(tmp_path: Path) -> None:
    """A personality of the kernel's own (UNAME26) reports a version before 3.0."""
    need("setarch")
    done = execute(["setarch", "--uname-2.6", str(CORTEND), "--data-root", str(tmp_path / "d")])
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("cortend: Linux 2.6.") and "too old: the engine needs 5.12 or newer" in done.err
    assert done.err.count("\n") == 1 and not (tmp_path / "d").exists()


def test_not_root(tmp_path: Path) -> None:
    need("setpriv")
    tmp_path.chmod(0o777)
    unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = execute([*unprivileged, str(CORTEND), "--data-root", str(tmp_path / "d")])
    if "No such file" in done.err or "Permission denied" in done.err:
        pytest.skip("the tests stand where only root can read")
    assert done.code == 1 and "must be started as root" in done.err and done.err.count("\n") == 1


@pytest.fixture
def bounded() -> Iterator[Client]:
    """Our client of a daemon without CAP_SYS_RESOURCE, whatever this machine has."""
    need("setpriv", "prlimit")
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    program = ["setpriv", "--bounding-set=-sys_resource", "prlimit", "--nofile=10000:10000", str(CORTEND)]
    daemon = Cortend(root, program=program)
    client = Client("corten", ("docker",), daemon.address, root)
    try:
        daemon.start()
        yield client
    finally:
        client.close()
        daemon.stop()
        shutil.rmtree(root)


def test_without_cap_sys_resource(bounded: Client) -> None:
    need("docker")
    warning = "No CAP_SYS_RESOURCE: limits above the daemon's own cannot be raised"
    assert warning in bounded("info").err
    lowest = int(Path("/proc/self/oom_score_adj").read_text())
    flags = ["--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit", "core=0:0"]
    done = bounded("run", "--rm", *flags, IMAGE, "sh", "-c", "ulimit -n; ulimit -c")
    assert done.out == "10000\n0\n"
    assert done.err.splitlines() == [
        "WARNING: No CAP_SYS_RESOURCE: ulimit nofile cannot be raised to 20000, it will be 10000"
    ]
    score = ["--network", "none", "--oom-score-adj", str(lowest - 1)]
    done = bounded("run", "--rm", *score, IMAGE, "cat", "/proc/self/oom_score_adj")
    assert done.out == f"{lowest}\n" and f"cannot be lowered to {lowest - 1}, it will be {lowest}" in done.err
    done = bounded("run", "--rm", "--network", "none", "--ulimit", "nofile=100:200", IMAGE, "sh", "-c", "ulimit -Hn")
    assert (done.out, done.err) == ("200\n", "")
