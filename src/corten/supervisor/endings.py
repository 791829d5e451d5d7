"""How a run ended, on disk before it is reported: exit.json, and state.json while it runs.

exit.json stands in the bundle: {"status": 0..255, "at": seconds, "oom_killed": bool, "error": ""}. It is written,
synced, renamed and its directory synced, so it is whole or absent. state.json stands beside the supervisor's socket, in
a directory that a reboot empties, and names the processes for good: a pid with its start time.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from corten.kernel.full_disk import writing

EXIT = "exit.json"
STATE = "state.json"
_ROOM = 4096  # bytes
_NEVER = 1e11  # seconds since the epoch, some thousand years from now


def reserve_exit(bundle: str) -> None:
    """Remove the last run's exit.json, and let this run's have its room now: at its end the disk may be full."""
    remove_exit(bundle)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    path = os.path.join(bundle, _temporary(EXIT))
    fd = os.open(path, flags, 0o600)
    try:
        with writing(path):
            os.write(fd, bytes(_ROOM))
    finally:
        os.close(fd)


def write_exit(bundle: str, ending: dict[str, Any]) -> None:
    directory = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _write(directory, EXIT, ending, durable=True)
        os.fsync(directory)
    finally:
        os.close(directory)


def read_exit(bundle: str) -> dict[str, Any] | None:
    """None when there is none, or what there is has not been written by `write_exit`."""
    ending = _read(os.path.join(bundle, EXIT))
    return ending if ending is not None and is_ending(ending) else None


def is_ending(body: dict[str, Any]) -> bool:
    """Whether it has the keys of an ending, with values that a run can have."""
    status, at = body.get("status"), body.get("at")
    if not (isinstance(status, int) and 0 <= status < 256 and isinstance(at, (int, float)) and 0 <= at < _NEVER):
        return False
    return isinstance(body.get("oom_killed"), bool) and isinstance(body.get("error"), str)


def remove_exit(bundle: str) -> None:
    try:
        os.unlink(os.path.join(bundle, EXIT))
    except FileNotFoundError:
        pass


def write_state(directory: str, state: dict[str, Any]) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _write(fd, STATE, state, durable=False)
    finally:
        os.close(fd)


def read_state(directory: str) -> dict[str, Any] | None:
    """{"pid", "supervisor"}, both numbers of processes, and what else is in it; None when there is none."""
    state = _read(os.path.join(directory, STATE))
    return state if state is not None and all(_is_pid(state.get(name)) for name in ("pid", "supervisor")) else None


def _is_pid(value: object) -> bool:
    return isinstance(value, int) and 0 < value < 1 << 22


def _write(directory: int, name: str, content: dict[str, Any], durable: bool) -> None:
    temporary = _temporary(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW  # not O_TRUNC: it may be room that was reserved
    fd = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        data = json.dumps(content).encode()
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), temporary)
        os.ftruncate(fd, len(data))
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def _temporary(name: str) -> str:
    return f".{name}.tmp"


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            content = json.load(file)
            return content if isinstance(content, dict) else None
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return None  # torn by a crash before its rename could be: as good as absent
