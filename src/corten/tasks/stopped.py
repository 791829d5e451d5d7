"""Helpers that were stopped (SIGSTOP, a debugger): they are killed, and what waits for one fails.

A helper may work for an hour and say nothing before its end, so that silence means nothing; that it is stopped does.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PATIENCE = 60.0  # seconds

# Names that their helpers have kept (`supervisor.launcher`).
_LAUNCHER, _BUILDS, _PODS = "corten:launcher", "corten:builds", "corten:pods"
_STATE, _BEGUN = 0, 19  # fields of proc_pid_stat(5) behind the name


class _Process(NamedTuple):
    pid: int
    begun: str  # which tells it from another one with this number
    name: str
    state: str


class Stopped:
    """What the helpers of one launcher do. `kill` is to be called again and again."""

    def __init__(self) -> None:
        self._since: dict[tuple[int, str], float] = {}  # seconds by CLOCK_MONOTONIC

    def kill(self, launcher: int) -> list[str]:
        """Those that have been stopped for `PATIENCE`, as far as is known here. What was killed, in words."""
        now, said = time.monotonic(), []
        stopped = {(one.pid, one.begun) for one in _helpers(launcher) if one.state in "Tt"}
        self._since = {one: self._since.get(one, now) for one in stopped}
        for (pid, begun), since in self._since.items():
            if now - since >= PATIENCE and _kill(pid, begun):
                said.append(f"helper process {pid}, which was stopped, is killed")
        return said


def _helpers(launcher: int) -> Iterator[_Process]:
    for child in _children(launcher):
        if child.name == _LAUNCHER:
            yield child
        elif child.name == _BUILDS:
            yield from _children(child.pid)
        elif child.name == _PODS:  # not holders of sandboxes, which are no helpers
            yield from (one for one in _children(child.pid) if one.name == _PODS)


def _children(pid: int) -> list[_Process]:
    try:
        numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended, or was never started
        return []
    return [found for number in numbers if (found := _process(int(number))) is not None]


def _process(pid: int) -> _Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 1 :].split()
    return _Process(pid, fields[_BEGUN], name, fields[_STATE])


def _kill(pid: int, begun: str) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:  # the descriptor first: the number may be another's since, the descriptor's process cannot become another
        found = _process(pid)
        if found is None or found.begun != begun:
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True
