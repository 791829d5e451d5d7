"""What several tests of the kernel's objects begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_bundle import BUSYBOX, Runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    if os.geteuid() != 0 or not os.path.exists(BUSYBOX):
        pytest.skip("needs root and Debian's busybox-static")
    runtime = Runtime(tmp_path)
    yield runtime
    runtime("delete", "--force", "box")
    assert not list((tmp_path / "state").glob("*/state.json"))
    assert not os.path.exists(f"/sys/fs/cgroup/pids/corten-oci-test-{os.getpid()}")
