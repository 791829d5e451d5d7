"""Directories of this machine for one guest: virtiofsd, confined to them.

    server = Virtiofsd(program, mounts, join)      # mounts: detached ones (`kernel.mount`), which stay the caller's
    machine.plug_share(TAG, server.connection)     # the guest finds mount 0 as /0, mount 1 as /1, ...
    ...                                            # server.ended is readable: the guest hangs in what it touches there
    server.close()

Its file system is one read-only directory with these mounts in it, nothing else: it leaves the rest by pivot_root when
it has begun (`sandbox=namespace`). It is root there, as files have to keep their owners, with the capabilities in
`_KEPT`, no network, no other process in sight, and system calls that it filters itself. The guest has its memory for
requests and answers, and no other process has a way to it: the socket that it listens on is in a network namespace of
its own.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from corten.errors import Unsupported
from corten.kernel import caps
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.vm import confine
from corten.vm.machine import FIRST

PROGRAM = "/usr/lib/qemu/virtiofsd"  # of QEMU before 8.0; what came after it has other options
_PACKAGE = "qemu-system-common of QEMU 7.2"
_KEPT = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")
_GIVEN_UP = ("MKNOD", "SETFCAP")  # which it would keep by itself
_UNTIL_CONFINED = ("SYS_ADMIN", "SETPCAP", "SYS_CHROOT", "SYS_RESOURCE")
_FILES = 1 << 18  # descriptors: one for each file that the guest's kernel remembers


def program() -> str:
    """Unsupported with the package's name when it is missing."""
    if not shutil.which(PROGRAM):
        raise Unsupported(f"{PROGRAM} is missing, which shares directories with a guest: install {_PACKAGE}")
    return PROGRAM


def arguments(path: str, listener: int, files: int) -> list[str]:
    """The command line. Pure."""
    options = (
        "source=/share",
        "sandbox=namespace",
        "announce_submounts",  # files of two file systems may have one number
        "cache=auto",
        "xattr",
        "log_level=err",
        "modcaps=" + ":".join(f"-{name.lower()}" for name in _GIVEN_UP),
    )
    line = [path, f"--fd={listener}", "-f", f"--rlimit-nofile={files}"]
    return line + [word for option in options for word in ("-o", option)]


class Virtiofsd:
    """A running one. Errors as of `confine.execute`."""

    def __init__(self, path: str, mounts: Sequence[int], join: Callable[[], None]) -> None:
        directories = [stat.S_ISDIR(os.fstat(fd).st_mode) for fd in mounts]
        files = min(_FILES, _hard_limit())
        with ExitStack() as undo, ExitStack() as theirs:
            self._errors, errors = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            undo.callback(os.close, self._errors)
            theirs.callback(os.close, errors)

            def prepare(reply: socket.socket) -> list[int]:
                join()
                listener = _listener(reply)
                confine.enter_root([lambda: _put(mounts, directories)], 64 + 2 * len(mounts), whole_proc=True)
                return [errors] * FIRST + [listener]

            self.pid, self.ended, given = confine.spawn(arguments(path, FIRST, files), prepare, lambda _: _restrict())
            (self.connection,) = given
            undo.callback(os.close, self.connection)
            self._open = undo.pop_all()

    def last_words(self) -> str:
        """The last line that it has written; empty when there is none."""
        return confine.last_words(self._errors)

    def close(self) -> None:
        if self.ended < 0:
            return
        self.ended, ended = -1, self.ended
        confine.end(ended)
        self._open.close()


def _hard_limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _FILES if hard == resource.RLIM_INFINITY else hard


def _listener(reply: socket.socket) -> int:
    """With the one connection that there will be, which the parent is given."""
    listener, connection = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    listener.bind("")  # a name that the kernel finds, in this network namespace (unix(7), autobind)
    listener.listen(1)
    connection.connect(listener.getsockname())
    confine.give(reply, connection.fileno())
    return listener.detach()


def _put(mounts: Sequence[int], directories: Sequence[bool]) -> None:
    """Each at its number in `share`, whose own directory is read-only with the root that it is part of."""
    os.mkdir("share", 0o755)
    for number, (fd, is_directory) in enumerate(zip(mounts, directories, strict=True)):
        place = f"share/{number}"
        if is_directory:
            os.mkdir(place, 0o755)
        else:
            os.mknod(place, stat.S_IFREG | 0o644)
        m.move_to(fd, place)


def _restrict() -> None:
    """What is left to be given up by itself: it makes its namespaces and leaves this root first."""
    confine.limit(resource.RLIMIT_CORE, 0)
    caps.drop_bounding(tuple(f"CAP_{name}" for name in (*_KEPT, *_UNTIL_CONFINED, *_GIVEN_UP)))
    p.prctl(p.PR_SET_NO_NEW_PRIVS, 1)
