"""The processes of the container as `docker top` shows them, from the guest's /proc: the host's ps(1) sees none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

_MOST = 1000  # processes; the rest is left out, as an answer has its limit
_LONGEST = 200  # bytes of a command line
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def rows(pids: Iterable[int]) -> list[Json]:
    """See `Instance.table`."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    found = (_row(pid, booted) for pid in sorted(pids)[:_MOST])
    return [row for row in found if row is not None]


def _row(pid: int, booted: float) -> Json | None:
    """None for one that has ended meanwhile. The numbers of fields are those of proc_pid_stat(5), less three."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(_LONGEST)
        status = os.stat(f"/proc/{pid}")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = rest.split()
    parent, group, session, terminal, foreground = map(int, fields[1:6])
    resident = int(fields[21]) * _PAGE
    known_as = name.decode(errors="replace")
    return {
        "pid": pid,
        "parent": parent,
        "group": group,
        "session": session,
        "user": status.st_uid,
        "gid": status.st_gid,
        "cpu": (int(fields[11]) + int(fields[12])) / _TICKS,
        "started": booted + int(fields[19]) / _TICKS,
        "terminal": _terminal(terminal),
        "state": fields[0].decode() + _flags(int(fields[16]), session == pid, int(fields[17]), foreground == group),
        "nice": int(fields[16]),
        "priority": int(fields[15]),
        "threads": int(fields[17]),
        "size": int(fields[20]) >> 10,
        "resident": resident >> 10,
        "share": 100 * resident / (os.sysconf("SC_PHYS_PAGES") * _PAGE),
        "name": known_as,
        "command": command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace") or f"[{known_as}]",
    }


def _flags(nice: int, leads: bool, threads: int, in_front: bool) -> str:
    """Behind the letter of a state (ps(1), PROCESS STATE CODES)."""
    low = "<" if nice < 0 else "N" if nice > 0 else ""
    return low + "s" * leads + "l" * (threads > 1) + "+" * in_front


def _terminal(device: int) -> str:
    """proc(5), tty_nr."""
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    return f"pts/{(major - 136) * 256 + minor}" if 136 <= major < 144 else "?"
