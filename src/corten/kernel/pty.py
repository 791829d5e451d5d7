"""Pseudoterminals of a given devpts mount, by descriptors only (ioctl_tty(2))."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_TIOCSWINSZ = 0x5414


def open_pair(devpts: int) -> tuple[int, int]:
    """A new (master, slave) of the devpts file system at descriptor `devpts`; the caller closes both.

    The slave is had from the master itself (TIOCGPTPEER): no path is looked up that a container could have replaced.
    """
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=devpts)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(master)
        raise
    return master, slave


def resize(master: int, rows: int, columns: int) -> None:
    fcntl.ioctl(master, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def take_controlling_terminal(slave: int) -> None:
    """Make `slave` the controlling terminal of this session leader."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
