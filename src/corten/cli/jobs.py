"""How far a machine's engine is, on the terminal, while a request waits for the end of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress

from corten.cli.output import STDERR, visible, write_all
from corten.cli.terminal import is_terminal
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.client.api import Client

_LOOK = 0.5  # seconds
_CLEAR = b"\r\x1b[K"


@contextmanager
def shown(client: Client, name: str, fd: int = STDERR) -> Iterator[None]:
    """One line that is rewritten, and gone at the end. Nothing where there is no terminal."""
    if not is_terminal(fd):
        yield
        return
    over, another = threading.Event(), client.another()
    watching = threading.Thread(target=_watch, args=(another, name, fd, over), daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        while watching.is_alive():  # a daemon that does not say how far it is keeps no command from its end
            another.interrupt()
            watching.join(0.1)
        another.close()


def _watch(client: Client, name: str, fd: int, over: threading.Event) -> None:
    written = False
    while not over.wait(_LOOK):
        with suppress(Exception):  # what the daemon says of it is of no use: the request itself says what is wrong
            if line := text(machines.jobs(client, name)):
                write_all(fd, _CLEAR + visible(line, fd).encode())
                written = True
    if written:
        write_all(fd, _CLEAR)


def text(jobs: list[dict[str, Any]]) -> str:
    """ "mirror 45%, memory 12%"; of one without an end nothing."""
    return ", ".join(f"{job['Type']} {100 * job['Current'] // job['Total']}%" for job in jobs if job["Total"])
