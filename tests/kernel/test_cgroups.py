"""Control groups on this machine's own layout, whatever it is."""

from __future__ import annotations

import os

import pytest

from corten.runtime import cgroups
from kernel import cgroup_cases

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making control groups needs root")


@pytest.mark.parametrize("name", cgroup_cases.CASES)
def test_case(name: str) -> None:
    layout = cgroups.detect()
    if not layout.hierarchies:
        pytest.skip("no control groups are mounted")
    try:
        cgroup_cases.run(name, layout)
    except cgroup_cases.Lacking as lacking:
        pytest.skip(str(lacking))
