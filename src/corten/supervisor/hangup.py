"""A helper ends with its request: the daemon was killed, or has given the request up.

Otherwise it would go on in a tree that the next daemon erases, or that others have by then.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal


def end_with(fd: int) -> None:
    """From now on the end of the other side of the socket `fd` ends this process, whatever it is in the middle of.

    The kernel says it by SIGIO (fcntl(2), O_ASYNC), whose default is the end of the process. What comes on the socket
    would be a reason as well: nothing may. Room in it is none for a process that blocks until there is some. To be
    called before the process is confined: Landlock looks at who asked for the signal.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(fd, 0)  # POLLHUP comes unasked
    if poll.poll(0):  # before it was asked for
        os._exit(0)
