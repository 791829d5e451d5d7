"""Names below a directory that others may change meanwhile: no link is followed on the way, so no step leaves it.

    beneath = Beneath("/srv/context")
    beneath.scan("a/b")                             # entries with their status
    fd = beneath.open("a/b/file", os.O_RDONLY)      # O_NOFOLLOW is added
    beneath.close()

A directory goes by its path from there, "" for itself. The last one is kept open: files of one are looked at one after
the other. Errors are those of open(2), ENOTDIR or ELOOP for a link.
"""

from __future__ import annotations

import os

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Beneath:
    def __init__(self, top: str) -> None:
        """`top` itself may be a link."""
        self._name = top
        self._top = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path, self._held = "", -1

    def directory(self, path: str) -> int:
        """A descriptor that stays this object's, and is good until the next call."""
        if not path:
            return self._top
        if path == self._path:
            return self._held
        fd, rest = self._top, path
        if self._path and path.startswith(f"{self._path}/"):
            fd, rest = self._held, path[len(self._path) + 1 :]
        for name in rest.split("/"):
            try:
                step = os.open(name, _STEP, dir_fd=fd)
            finally:
                if fd not in (self._top, self._held):
                    os.close(fd)
            fd = step
        self._forget()
        self._path, self._held = path, fd
        return fd

    def open(self, path: str, flags: int = _READ) -> int:
        """The caller's to close. A pipe, or a device, is not waited for."""
        parent, _, name = path.rpartition("/")
        try:
            return os.open(name, flags | _READ, dir_fd=self.directory(parent))
        except OSError as error:
            raise self._named(error, path) from None

    def readlink(self, path: str) -> str:
        parent, _, name = path.rpartition("/")
        try:
            return os.readlink(name, dir_fd=self.directory(parent))
        except OSError as error:
            raise self._named(error, path) from None

    def listing(self, path: str) -> int:
        """The directory, to be read; the caller's to close."""
        try:
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory(path))
        except OSError as error:
            raise self._named(error, path) from None

    def _named(self, error: OSError, path: str) -> OSError:
        """The same with the whole path."""
        error.filename = f"{self._name}/{path}" if path else self._name
        return error

    def scan(self, path: str) -> list[tuple[str, os.stat_result]]:
        """What is in a directory, by name, without what is gone again; [] when it is itself, or is none any more."""
        try:
            fd = self.listing(path)
        except (FileNotFoundError, NotADirectoryError):
            if path:
                return []
            raise
        found = []
        try:
            with os.scandir(fd) as entries:
                for entry in sorted(entries, key=lambda each: each.name):
                    try:
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue
        finally:
            os.close(fd)
        return found

    def close(self) -> None:
        self._forget()
        if self._top >= 0:
            os.close(self._top)
            self._top = -1

    def _forget(self) -> None:
        if self._held >= 0:
            os.close(self._held)
        self._path, self._held = "", -1
