"""A task's place in the run directory: where a daemon finds its supervisor. Made once, before the program runs."""

from __future__ import annotations

import os
import socket

from corten.kernel.process import start_time
from corten.supervisor import endings, sockets


def prepare(directory: str, bundle: str) -> None:
    """The directory, and room for the end of this run. Root's alone, whatever the umask is."""
    os.makedirs(os.path.dirname(directory), 0o700, exist_ok=True)  # this mode is the last one's alone
    os.makedirs(directory, 0o700, exist_ok=True)
    endings.reserve_exit(bundle)


def settle(directory: str, pid: int, supervisor: int) -> socket.socket:
    """Write down who is who, and listen. The socket is in a directory that only root may enter."""
    endings.write_state(directory, {"pid": pid, "start_time": start_time(pid), "supervisor": supervisor})
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # by descriptor: a socket's path must not be longer than 107 bytes
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(f"/proc/self/fd/{fd}/{sockets.SUPERVISOR}")
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(fd)
    listener.listen(128)  # as many daemons may come and go while this process is stopped
    listener.setblocking(False)
    return listener
