"""What a container's control group must do, as functions of (layout, path): run by this machine's tests on the layout
it has (v1 or hybrid), and by a guest's on v2. Each raises AssertionError; `Lacking` says what is not there to show it.

Plain Python, no pytest: a guest has the standard library only.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable

from corten.runtime import cgroups
from corten.runtime.cgroups import Layout
from kernel import cgroup_life, cgroup_limits
from kernel.cgroup_children import Lacking

__all__ = ["CASES", "Lacking", "run"]

CASES: dict[str, Callable[[Layout, str], None]] = {
    name.removeprefix("case_"): value
    for module in (cgroup_life, cgroup_limits)
    for name, value in vars(module).items()
    if name.startswith("case_")
}


def run(name: str, layout: Layout) -> None:
    """One case in a group of its own, which must be gone afterwards. Core files are not wanted here."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    parent = f"/corten-test-{os.getpid()}"
    try:
        CASES[name](layout, f"{parent}/{name}")
    finally:
        left = [h.mountpoint + parent for h in layout.hierarchies if _children(h.mountpoint + parent)]
        cgroups.remove(layout, parent)
    assert not left, f"left behind: {left}"


def _children(path: str) -> list[str]:
    if not os.path.isdir(path):
        return []
    return [entry.name for entry in os.scandir(path) if entry.is_dir()]
