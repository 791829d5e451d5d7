"""What the kernel holds a single process to, beside its control groups."""

from __future__ import annotations

import errno
import resource
from typing import Any

from corten.runtime.messages import ChildFailed


def apply_limits(pid: int, process: dict[str, Any]) -> list[str]:
    """rlimits and oom_score_adj of `pid`, 0 for this process: inside a user namespace they could not be raised.

    What this machine does not allow (no CAP_SYS_RESOURCE) is returned as a warning, and the limit stays as high as it
    may be.
    """
    warnings = []
    for limit in process.get("rlimits") or ():
        number = getattr(resource, limit["type"], None)
        if number is None:
            raise ChildFailed("limits", f"unknown rlimit {limit['type']!r}")
        soft, hard = _rlimit(limit["soft"]), _rlimit(limit["hard"])
        try:
            resource.prlimit(pid, number, (soft, hard))
        except (PermissionError, ValueError):
            _, most = resource.prlimit(pid, number)
            resource.prlimit(pid, number, (_lower(soft, most), _lower(hard, most)))
            warnings.append(f"{limit['type']} could not be raised to {limit['hard']}: no CAP_SYS_RESOURCE")
    adjust = process.get("oomScoreAdj")
    if adjust:
        try:
            with open(f"/proc/{pid or 'self'}/oom_score_adj", "w") as file:
                file.write(str(adjust))
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM):
                raise
            warnings.append(f"oom_score_adj could not be set to {adjust}: no CAP_SYS_RESOURCE")
    return warnings


def _rlimit(value: int) -> int:
    """RLIM_INFINITY, which JSON carries as 2^64 - 1, is -1 here."""
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 - 1 else value


def _lower(wanted: int, most: int) -> int:
    if most == resource.RLIM_INFINITY:
        return wanted
    return most if wanted == resource.RLIM_INFINITY else min(wanted, most)
