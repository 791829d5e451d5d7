"""A file that has its name once all of it is there. What is no regular file is written as it is: a device, a pipe, a
link (/dev/stdout is one). Nothing may take the place of those, least of all in /dev."""

from __future__ import annotations

import os
import stat

_HOW = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY


class Whole:
    """`fd` is to be written to; `keep` gives it the name, when it is on the disk where it is to be `synced`; `close`
    takes away what was not kept. Raises OSError.

    with closing(Whole(path)) as file:
        write_all(file.fd, data)
        file.keep()
    """

    def __init__(self, path: str, mode: int = 0o666) -> None:
        self._path = path
        self._partial = f"{path}.{os.getpid()}.partial" if _may_be_replaced(path) else ""
        how = _HOW | (os.O_EXCL if self._partial else os.O_TRUNC)
        self.fd = os.open(self._partial or path, how, mode)

    def keep(self, synced: bool = False) -> None:
        if self._partial:
            if synced:
                os.fsync(self.fd)
            os.rename(self._partial, self._path)
            self._partial = ""

    def close(self) -> None:
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        if self._partial:
            os.unlink(self._partial)


def _may_be_replaced(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except FileNotFoundError:
        return True
