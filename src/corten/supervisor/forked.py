"""What every process that the launcher forks does first."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from corten.runtime.init import close_all_but


def inherit(fds: list[int]) -> None:
    """Keep these descriptors, and nothing else of the launcher's.

    The others are the socket to the daemon, and descriptors of requests that came at the same time. A supervisor lives
    for months, and a process that waits for the end of a descriptor that it holds would wait as long.
    """
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # without the enumerations of `signal`
    close_all_but(fds)
