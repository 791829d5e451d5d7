"""A launcher for builds, forked by the launcher with the first of them.

It has what a build's helpers need loaded, once instead of in each of them. The launcher itself has none of it: that
would be in every supervisor's memory.
"""

from __future__ import annotations

from typing import Any

from corten.kernel import process as p
from corten.supervisor import copies, hangup, launcher, steps, workers

Json = dict[str, Any]
_LOADED = (copies, hangup, steps, workers)


def main(request: Json, fds: list[int]) -> None:
    """Serve the daemon at the other end of fds[0] until it is gone."""
    p.set_name("corten:builds", of="")
    launcher.serve(fds[0])
