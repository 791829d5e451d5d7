"""A launcher for builds, forked by the launcher with the first of them.

It has what a build's helpers need loaded, once instead of in each of them. The launcher itself has none of it: that
would be in every supervisor's memory.
"""

from __future__ import annotations

import gc
from typing import Any

from corten.kernel import process as p
from corten.supervisor import copies, hangup, launcher, steps, workers

Json = dict[str, Any]
_OBJECTS = 50_000  # that are made between two looks for cycles: what a helper makes for each file has none
_LOADED = (copies, hangup, steps, workers)


def main(request: Json, fds: list[int]) -> None:
    """Serve the daemon at the other end of fds[0] until it is gone."""
    p.set_name("corten:builds", of="")
    gc.set_threshold(_OBJECTS)
    launcher.serve(fds[0])
