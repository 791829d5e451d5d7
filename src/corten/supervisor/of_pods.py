"""A launcher for pods, forked by the launcher with the first of them.

It has what keeps a pod and what connects it by plugins loaded, once instead of in each such process.
"""

from __future__ import annotations

from typing import Any

from corten.kernel import process as p
from corten.supervisor import cni, hangup, holder, launcher

Json = dict[str, Any]
_LOADED = (cni, hangup, holder)


def main(request: Json, fds: list[int]) -> None:
    """Serve the daemon at the other end of fds[0] until it is gone."""
    p.set_name("corten:pods", of="")
    launcher.serve(fds[0])
