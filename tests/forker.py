"""A launcher that is this process itself: what it forks is in this thread's network namespace."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from corten.runtime.init import close_all_but
from corten.supervisor import launcher
from corten.tasks.launcher import Launcher


class Forker(Launcher):
    """`pids` are those of the processes that it forked, in order."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))
        self.pids: list[int] = []

    def send(self, request: Any, fds: list[int]) -> None:
        pid = os.fork()
        if pid == 0:
            own = [os.dup(fd) for fd in fds]
            close_all_but(own)
            launcher._work(request["do"])(request, own)
        self.pids.append(pid)

    def kill(self) -> None:
        """The last one, before the daemon can hear of it."""
        pid = self.pids.pop()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def wait(self) -> None:
        """All have ended."""
        while self.pids:
            os.waitpid(self.pids.pop(), 0)
