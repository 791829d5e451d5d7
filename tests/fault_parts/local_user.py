"""A local user of the machine with no groups and no capabilities, and what that one can do with files and processes."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

UID = 65534


def everything(*tops: Path) -> dict[str, int]:
    """All that is below `tops`, and themselves, with its mode; found by root. What goes meanwhile is left out."""
    found: list[str] = []
    for top in tops:
        assert top.exists(), top
        found.append(str(top))
        for directory, directories, files in os.walk(top):
            found += [os.path.join(directory, name) for name in (*directories, *files)]
    modes = {}
    for path in found:
        with suppress(FileNotFoundError):
            modes[path] = os.lstat(path).st_mode
    return modes


def reached(modes: Mapping[str, int]) -> list[str]:
    """What of `everything` the user can list, read, write, enter, execute or connect to."""
    return _as_local_user(lambda: [f"{verb} {path}" for path, mode in modes.items() for verb in _verbs(path, mode)])


def looked_into(pids: Iterable[int]) -> list[str]:
    """What the user can find out about processes beyond their names and arguments."""
    names = ("environ", "maps", "mem", "fd", "root", "cwd", "exe", "stack", "syscall", "io")
    entries = [f"/proc/{pid}/{name}" for pid in pids for name in names]
    return _as_local_user(lambda: [entry for entry in entries if _readable(entry)])


def _as_local_user(work: Callable[[], list[str]]) -> list[str]:
    """The answer of `work` in a child that is that user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(UID, UID, UID)
            os.setresuid(UID, UID, UID)
            assert "CapEff:\t0000000000000000" in Path("/proc/self/status").read_text()
            with os.fdopen(writer, "w") as out:
                json.dump(work(), out)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    found: list[str] = json.loads(text)
    return found


def _verbs(path: str, mode: int) -> Iterator[str]:
    """Links are left out: what they lead to is there by itself."""
    if stat.S_ISLNK(mode):
        return
    if stat.S_ISSOCK(mode):
        if _allowed(lambda: _connect(path)):
            yield "connect"
        return
    if stat.S_ISDIR(mode):
        if _allowed(lambda: os.listdir(path)):
            yield "list"
        if _allowed(lambda: os.mkdir(f"{path}/made")):
            yield "make in"
    else:
        for verb, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY)):
            if _allowed(lambda: os.close(os.open(path, flags | os.O_NONBLOCK))):  # noqa: B023
                yield verb
    if os.access(path, os.X_OK):
        yield "enter" if stat.S_ISDIR(mode) else "execute"


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


def _readable(entry: str) -> bool:
    if entry.endswith(("root", "cwd", "exe")):
        return _allowed(lambda: os.readlink(entry))
    if entry.endswith("fd"):
        return _allowed(lambda: os.listdir(entry))
    return _allowed(lambda: Path(entry).read_bytes())


def _allowed(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:  # refused, or not even found
        return False
    return True
