"""What is left of a run whose supervisor was killed: processes, control groups, its directory below the exec root.

A supervisor takes these away itself at the end of its container. Killed, it cannot; the kernel then kills the
container's first process (PR_SET_PDEATHSIG) unless it has changed that for itself, and processes of a container without
a PID namespace of its own stay in any case. The control group holds them all.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import socket
import time
from pathlib import Path

from corten.errors import CortenError, NotFound
from corten.runtime import cgroups
from corten.supervisor import endings, sockets

log = logging.getLogger(__name__)
_CGROUP = "cgroup"  # in a run directory: the path of a control group that could not be removed


def supervised(run: Path) -> bool:
    """A supervisor listens in the directory `run`; also True for one that is only too busy to take a connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:  # by descriptor: a socket's path must not be longer than 107 bytes
            probe.connect(f"/proc/self/fd/{directory}/{sockets.SUPERVISOR}")
        except OSError as error:
            return error.errno not in (errno.ENOENT, errno.ECONNREFUSED)
        finally:
            os.close(directory)
    return True


def cgroup_path(bundle: Path) -> str | None:
    """Where the bundle's specification puts the container; None when there is none to be read."""
    try:
        spec = json.loads((bundle / "config.json").read_bytes())
        return str(spec["linux"]["cgroupsPath"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_cgroup(path: str) -> tuple[int, bool]:
    """Kill all processes in it and remove it in every tree: how many there were, and whether it was there at all."""
    layout = cgroups.detect()
    try:
        group = cgroups.open(layout, path)
    except NotFound:
        return 0, False
    try:
        members = len(group.pids())
        group.kill()
    finally:
        group.close()
    cgroups.remove(layout, path)
    return members, True


def kill(bundle: Path) -> None:
    """SIGKILL to all processes in the container's control group; its supervisor removes the rest."""
    if path := cgroup_path(bundle):
        try:
            group = cgroups.open(cgroups.detect(), path)
        except NotFound:
            return
        try:
            group.kill()
        finally:
            group.close()


def kill_supervisor(run: Path) -> None:
    """SIGKILL to the supervisor whose run directory this is, when it still is the process that wrote it down."""
    state = endings.read_state(str(run)) or {}
    try:
        supervisor = os.pidfd_open(int(state["supervisor"]))
    except (KeyError, ProcessLookupError):
        return
    try:  # the descriptor first: the number may be another's since, the descriptor's process cannot become another
        if Path(f"/proc/{state['supervisor']}/comm").read_text().startswith("corten:"):
            signal.pidfd_send_signal(supervisor, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass
    finally:
        os.close(supervisor)


def ended(run: Path, seconds: float = 5.0) -> bool:
    """Its supervisor has taken the directory away, within so many seconds."""
    deadline = time.monotonic() + seconds
    while run.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def remove(run: Path, bundle: Path, default_cgroup: str = "") -> list[str]:
    """All of it, where no supervisor lives. What was there, in words; OSError and CortenError become words as well.

    While the control group cannot be removed `run` stays, with the group's path in it, for `retry` and the next daemon.
    """
    said: list[str] = []
    path = cgroup_path(bundle) or _recorded(run) or default_cgroup
    if path:
        try:
            members, was_there = remove_cgroup(path)
            if was_there:
                said.append(f"control group {path}" + (f" with {members} processes" if members else ""))
        except (CortenError, OSError) as error:
            _record(run, path)
            return [f"control group {path}, which cannot be removed yet: {error}"]
    if run.exists():
        try:
            shutil.rmtree(run)
            said.append(f"directory {run}")
        except OSError as error:
            said.append(f"directory {run}, which cannot be removed: {error}")
    return said


def retry(runs: Path) -> list[str]:
    """Remove what `remove` had to leave, where that is possible by now. What was removed, in words."""
    said: list[str] = []
    for run in runs.iterdir() if runs.is_dir() else ():
        if path := _recorded(run):
            try:
                remove_cgroup(path)
                shutil.rmtree(run)
                said.append(f"control group {path} is removed")
            except (CortenError, OSError):  # still not
                continue
    return said


def _record(run: Path, path: str) -> None:
    try:
        run.mkdir(mode=0o700, exist_ok=True)
        (run / _CGROUP).write_text(path)
    except OSError as error:
        log.error("control group %s is left, and cannot be recorded: %s", path, error)


def _recorded(run: Path) -> str:
    try:
        return (run / _CGROUP).read_text()
    except OSError:
        return ""
