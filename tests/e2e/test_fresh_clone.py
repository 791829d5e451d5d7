"""`./corten run` in a fresh clone: it sets itself up, starts the daemon, makes an image, runs it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import execute
from e2e_parts.cortend import PROJECT
from e2e_parts.others import need

# The daemon's default places are this machine's; here each is empty and goes with the namespaces, as does the daemon.
RUN = """
set -e
mount --make-rprivate /
for place in /run /var/lib; do mount -t tmpfs tmpfs $place; done
[ ! -d /etc/corten ] || mount -t tmpfs tmpfs /etc/corten
ip link set lo up
./corten run --rm corten/busybox echo first
../bin/corten run --rm corten/busybox sh -c 'echo second; exit 3'
"""
NAMESPACES = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    need("git", "unshare")
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no clone")
    safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    where = tmp_path / "clone"
    done = execute(["git", "clone", "-q", "--depth", "1", f"file://{PROJECT}", str(where)], env={**os.environ, **safe})
    assert done.code == 0, done
    return where


@pytest.fixture
def default_groups() -> Iterator[None]:
    """The default control group is the whole machine's; it is taken away again when it was not there."""
    trees = [tree for tree in Path("/sys/fs/cgroup").glob("*") if tree.is_dir() and not (tree / "corten").exists()]
    yield
    for tree in trees:
        with contextlib.suppress(OSError):
            (tree / "corten").rmdir()


@pytest.mark.usefixtures("default_groups")
def test_the_first_command(clone: Path) -> None:
    """10 s, most of it pip's. The set-up needs this machine's network, the rest must not touch it."""
    kept = ("CORTEN_", "DOCKER_", "PYTHON")
    env = {key: value for key, value in os.environ.items() if not key.startswith(kept)}
    # Through a link, as from a directory of PATH.
    link = clone.parent / "bin" / "corten"
    link.parent.mkdir()
    link.symlink_to("../clone/corten")
    done = execute([str(link), "--version"], timeout=300, env=env, cwd=Path("/"))
    assert done.code == 0 and done.out.startswith("Corten version "), done
    steps = [line for line in done.err.splitlines() if ".venv" in line]
    assert steps == [
        "corten: setting up .venv",
        "corten: upgrading pip in .venv",
        "corten: installing this package and its dependencies in .venv",
    ]

    began = time.monotonic()
    done = execute([*NAMESPACES, "sh", "-c", RUN], timeout=60, env=env, cwd=clone)
    assert (done.code, done.out) == (3, "first\nsecond\n"), done
    assert done.err == "corten: starting the daemon\n", done  # once, and no set-up
    assert time.monotonic() - began < 30
