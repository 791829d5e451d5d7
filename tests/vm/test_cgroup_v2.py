"""Control groups of version 2, for real: the cases of tests/kernel in a guest that has nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import kept
from kernel import cgroup_cases
from vm import guest

SCRIPT = """
import os, traceback
os.environ["CORTEN_GUEST"] = "1"
from kernel import cgroup_cases
from corten.runtime import cgroups
from guest import report
layout = cgroups.detect()
report(mode=layout.mode, version=layout.version, controllers=sorted(layout.hierarchies[0].controllers))
for name in cgroup_cases.CASES:
    try:
        cgroup_cases.run(name, layout)
        report(case=name, outcome="passed")
    except cgroup_cases.Lacking as lacking:
        report(case=name, outcome="skipped", reason=str(lacking))
    except BaseException:
        report(case=name, outcome="failed", reason=traceback.format_exc())
report(left=[entry.name for entry in os.scandir("/sys/fs/cgroup") if entry.is_dir()])
"""


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    lacking = guest.missing()
    if lacking:
        pytest.skip(lacking)
    machine = guest.Guest(kept.directory() / "vm", disks=(16 << 20, 64 << 20))
    cases = Path(cgroup_cases.__file__).parent.glob("cgroup_*.py")
    return machine.run(SCRIPT, {f"/guest/kernel/{file.name}": file for file in cases})


def test_layout(results: list[dict[str, Any]]) -> None:
    assert results[0]["mode"] == "v2"
    assert results[0]["version"] == 2
    assert {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"} <= set(results[0]["controllers"])


@pytest.mark.parametrize("name", cgroup_cases.CASES)
def test_case(name: str, results: list[dict[str, Any]]) -> None:
    (result,) = [result for result in results if result.get("case") == name]
    if result["outcome"] == "skipped":
        pytest.skip(result["reason"])
    assert result["outcome"] == "passed", result["reason"]


def test_nothing_is_left(results: list[dict[str, Any]]) -> None:
    (result,) = [result for result in results if "left" in result]
    assert result["left"] == []
    assert results[-1]["exit"] == 0
