"""A machine's TPM: swtpm, confined to the directory of its state.

    chip = Swtpm(program(), directory, join)     # QEMU gets `chip.connection`, the control channel
    ...                                          # chip.ended is readable: the machine has no TPM any more
    chip.close()

It has a user of its own, as QEMU has (`vm.confine`), no capability, empty namespaces, a root of /usr and the directory
of its state, which becomes that user's; its system calls it filters by itself.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack

from corten.errors import Unsupported
from corten.kernel import mount as m
from corten.kernel import syscall as sys
from corten.vm import confine
from corten.vm.machine import FIRST

_STATE = "state"
_ATTRIBUTES = m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC


def program() -> str:
    """Unsupported with the package's name when it is missing."""
    if (found := shutil.which("swtpm", path="/usr/bin:/bin")) is None:
        raise Unsupported("swtpm is missing, which is a machine's TPM: install the package swtpm")
    return found


def arguments(path: str, channel: int) -> list[str]:
    """The command line. Pure."""
    state, control = f"dir=/{_STATE},mode=0600", f"type=unixio,clientfd={channel}"
    return [path, "socket", "--tpm2", "--tpmstate", state, "--ctrl", control, "--terminate"]


class Swtpm:
    """A running one. `directory` is made when it is not there. Errors as of `confine.execute`."""

    def __init__(self, path: str, directory: str, join: Callable[[], None]) -> None:
        os.makedirs(directory, 0o700, exist_ok=True)
        with ExitStack() as undo, ExitStack() as theirs:
            self._errors, errors = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            undo.callback(os.close, self._errors)
            theirs.callback(os.close, errors)
            self.connection, its = socket.socketpair()
            undo.callback(self.connection.close)
            theirs.callback(its.close)

            def prepare(_: socket.socket) -> list[int]:
                join()
                return [errors] * FIRST + [its.fileno()]

            def finish(user: int) -> None:
                tree = m.clone(sys.AT_FDCWD, directory)
                _give(tree, user)
                m.set_attributes(tree, _ATTRIBUTES, propagation=m.MS_PRIVATE)
                confine.enter_root([lambda: _put(tree)])
                confine.drop_rights(user)

            self.pid, self.ended, _ = confine.spawn(arguments(path, FIRST), prepare, finish)
            self._open = undo.pop_all()

    def last_words(self) -> str:
        """What it has written last; empty when that is nothing."""
        return confine.last_words(self._errors)

    def close(self) -> None:
        if self.ended < 0:
            return
        self.ended, ended = -1, self.ended
        confine.end(ended)
        self._open.close()


def _give(tree: int, user: int) -> None:
    """The directory and what is in it belong to this run's user."""
    place = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    try:
        for name in os.listdir(place):
            os.chown(name, user, user, dir_fd=place, follow_symlinks=False)
        os.fchown(place, user, user)
    finally:
        os.close(place)


def _put(tree: int) -> None:
    os.mkdir(_STATE, 0o700)
    m.move_to(tree, _STATE)
    os.close(tree)
