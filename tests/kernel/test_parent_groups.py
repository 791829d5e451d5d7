"""`daemon.groups` on real control groups: what rmdir(2) says of a group that is absent, in use, or empty."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.daemon.groups import HostGroups
from corten.runtime import cgroups

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


TREE = next(tree for tree in cgroups.detect().hierarchies if tree.version == 2 or "cpuset" not in tree.controllers)


@pytest.fixture
def group() -> Iterator[Path]:
    top = Path(TREE.mountpoint) / f"corten-parent-test-{os.getpid()}"
    top.mkdir()
    yield top
    if top.exists():
        top.rmdir()


def test_a_group_is_removed_when_it_is_empty(group: Path) -> None:
    groups, below = HostGroups(), group / "below"
    assert groups.missing(f"/{group.name}/below")[str(below)] == f"/{group.name}/below"
    below.mkdir()
    assert not groups.remove(str(group)), "a group is in it"
    assert group.is_dir()
    sleeper = subprocess.Popen(["sleep", "1000"])
    try:
        (below / "cgroup.procs").write_text(str(sleeper.pid))
        assert not groups.remove(str(below)), "a process is in it"
    finally:
        sleeper.kill()
        sleeper.wait()
    cgroups.remove(cgroups.Layout((TREE,)), f"/{group.name}/below")
    assert groups.remove(str(below)), "it is absent"
    assert groups.remove(str(group)) and not group.exists()


def test_what_is_no_group_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        HostGroups().remove(str(tmp_path / "file"))
