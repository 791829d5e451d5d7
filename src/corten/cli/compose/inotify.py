"""Changes of files below directories, by inotify(7)."""

from __future__ import annotations

import ctypes
import os
import select
import struct

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Skips = Callable[[str], bool]

_EVENT = struct.Struct("iIII")
_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 2, 4, 8, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _ONLYDIR, _DONT_FOLLOW, _ISDIR = 0x4000, 0x8000, 0x1000000, 0x2000000, 0x40000000
_MASK = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLYDIR
_READ = 1 << 16
_NO_SPACE = 28


class Changes:
    """`skips` says of a path that it, and all below it, is not watched."""

    def __init__(self, skips: Skips) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise CommandError(f"files cannot be watched: {os.strerror(ctypes.get_errno())}")
        self._skips = skips
        self._paths: dict[int, str] = {}
        self._tops: set[str] = set()

    def add(self, path: str) -> None:
        """A directory with all below it, or a file. Raises CommandError when the kernel takes no more."""
        self._tops.add(path)
        self._add(path if os.path.isdir(path) else os.path.dirname(path), deep=os.path.isdir(path))

    def _add(self, path: str, deep: bool = True) -> list[str]:
        """The files that are there already: those that came before the watch did."""
        found = []
        waiting = [path]
        while waiting:
            directory = waiting.pop()
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _MASK)
            if number < 0:
                error = ctypes.get_errno()
                if error == _NO_SPACE:
                    raise CommandError(
                        "no more files can be watched: raise it with sysctl fs.inotify.max_user_watches=524288, or "
                        "ignore some of them"
                    )
                continue  # it is gone
            self._paths[number] = directory
            try:
                with os.scandir(directory) as entries:
                    for each in entries:
                        if self._skips(each.path):
                            continue
                        found.append(each.path)
                        if deep and each.is_dir(follow_symlinks=False):
                            waiting.append(each.path)
            except OSError:
                continue
        return found

    def fileno(self) -> int:
        return int(self._fd)

    def wait(self, seconds: float | None) -> bool:
        """Whether something has happened within that time."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def take(self) -> set[str] | None:
        """Paths that have changed; None when the kernel lost some of them, and all may have."""
        found: set[str] = set()
        lost = False
        while True:
            try:
                data = os.read(self._fd, _READ)
            except BlockingIOError:
                return None if lost else found
            at = 0
            while at < len(data):
                number, mask, _, length = _EVENT.unpack_from(data, at)
                name = os.fsdecode(data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0"))
                at += _EVENT.size + length
                if mask & _OVERFLOW:
                    lost = True
                elif mask & _IGNORED:
                    self._paths.pop(number, None)
                elif number in self._paths and name:
                    found |= self._changed(os.path.join(self._paths[number], name), mask)

    def _changed(self, path: str, mask: int) -> set[str]:
        if self._skips(path):
            return set()
        if mask & _ISDIR and mask & (_CREATE | _MOVED_TO):
            return {path, *self._add(path)}
        return {path}

    def close(self) -> None:
        os.close(self._fd)
