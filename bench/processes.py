"""An engine's processes, as /proc shows them (proc(5)), and what memory they stand for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")


def parents() -> dict[int, int]:
    """Process: its parent, for all that are visible."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended between the listing and the look
            found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def descendants(top: int, table: dict[int, int]) -> list[int]:
    """Children, their children and so on, parents first."""
    found: list[int] = []
    layer = [top]
    while layer:
        layer = [pid for pid, parent in table.items() if parent in layer]
        found += layer
    return found


def engine(top: int) -> list[int]:
    """Descendants of `top` in our process namespace: what runs in another one is a container's, not the engine's."""
    ours = os.readlink("/proc/self/ns/pid")
    return [pid for pid in descendants(top, parents()) if _namespace(pid) == ours]


def pss(pids: list[int]) -> float:
    """Proportional set size of all of them together, in MB of 2**20 bytes."""
    return sum(map(_pss_kb, pids)) / 1024


def by_name(pids: list[int]) -> str:
    """Which commands these are, how many of each and how much memory together: `10 containerd-shim 38.1 MB, ...`."""
    kinds: dict[str, list[int]] = {}
    for pid in pids:
        kinds.setdefault(_name(pid), []).append(pid)
    return ", ".join(f"{len(of_kind)} {name} {pss(of_kind):.1f} MB" for name, of_kind in sorted(kinds.items()))


def high_water_kb(pid: int) -> int:
    """The most memory it ever had resident, in KiB of 1024 bytes; 0 when it has ended."""
    try:
        status = (PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def kill_all(top: int, seconds: float = 10) -> None:
    """SIGKILL to every descendant of `top` until none is left, containers' processes included."""
    deadline = time.monotonic() + seconds
    while (left := descendants(top, parents())) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.01)


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "ended"


def _namespace(pid: int) -> str:
    try:
        return os.readlink(PROC / str(pid) / "ns/pid")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _pss_kb(pid: int) -> int:
    try:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
