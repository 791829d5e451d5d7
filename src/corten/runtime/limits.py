"""What the kernel holds a single process to, beside its control groups.

Limits are set late, by the process itself: it needs descriptors and memory of its own before its program is executed,
and a low limit would fail the start. Only where it is in a user namespace by then, and could not raise its hard limits,
are those raised before.
"""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from corten.kernel import process as p


def apply_limits(process: dict[str, Any]) -> list[str]:
    """The rlimits, for this process.

    What this machine does not allow (no CAP_SYS_RESOURCE) is returned as a warning, and the limit stays as high as it
    may be.
    """
    warnings = []
    for kind, number, soft, hard in _rlimits(process):
        try:
            resource.prlimit(0, number, (soft, hard))
        except (PermissionError, ValueError):
            _, most = resource.prlimit(0, number)
            resource.prlimit(0, number, (_lower(soft, most), _lower(hard, most)))
            warnings.append(f"{kind} could not be raised to {_shown(hard)}: no CAP_SYS_RESOURCE")
    return warnings


def make_room(pid: int, process: dict[str, Any]) -> None:
    """Raise the hard limits of `pid`, 0 for this process, to those that it will set itself, where that may be done."""
    for _, number, _, hard in _rlimits(process):
        soft, most = resource.prlimit(pid, number)
        if _lower(hard, most) == hard:
            continue
        with suppress(PermissionError, ValueError):  # it says so itself
            resource.prlimit(pid, number, (soft, hard))


def set_oom_score(pid: int, process: dict[str, Any]) -> list[str]:
    """oom_score_adj of `pid`, 0 for this process, by the host's /proc. Warnings as above; none for 0, which nothing has
    asked for, but which is set: a service is spared by what it has of its own, and a container is not to be."""
    adjust = process.get("oomScoreAdj")
    if adjust is None:
        return []
    try:
        p.set_oom_score(adjust, pid)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise
        return [f"oom_score_adj could not be set to {adjust}: no CAP_SYS_RESOURCE"] if adjust else []
    return []


def _rlimits(process: dict[str, Any]) -> Iterator[tuple[str, int, int, int]]:
    """(name, number, soft, hard)."""
    for limit in process.get("rlimits") or ():
        number = getattr(resource, limit["type"], None) if limit["type"].startswith("RLIMIT_") else None
        if number is None:
            raise ValueError(f"unknown rlimit {limit['type']!r}")
        yield limit["type"], number, _rlimit(limit["soft"]), _rlimit(limit["hard"])


def _rlimit(value: int) -> int:
    """RLIM_INFINITY, which JSON carries as 2^64 - 1, is -1 here."""
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 - 1 else value


def _shown(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def _lower(wanted: int, most: int) -> int:
    if most == resource.RLIM_INFINITY:
        return wanted
    return most if wanted == resource.RLIM_INFINITY else min(wanted, most)
