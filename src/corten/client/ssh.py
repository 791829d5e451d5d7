"""Engines on other machines: `ssh HOST corten system dial-stdio` as a connection, one process for each.

The user's own ssh is run, with its configuration, agent and known hosts; what it says goes to our standard error.
"""

from __future__ import annotations

import re
import socket
import subprocess

from corten.client.errors import Unreachable
from corten.errors import Invalid

# One of the two is there; both end when either side does.
_DIAL = (
    "if command -v corten >/dev/null 2>&1; then exec corten {flags}system dial-stdio; "
    "else exec docker {flags}system dial-stdio; fi"
)
_PATH = re.compile(r"/[A-Za-z0-9._/@%+,=-]+")
_running: list[subprocess.Popen[bytes]] = []  # kept, so that none is waited for before its time


def program(rest: str, url: str) -> tuple[str, ...]:
    """The command for what stands behind ssh://; a path is that of the engine's socket there.

    Raises Invalid for a bad address.
    """
    words, path = destination(rest, url)
    if path and not _PATH.fullmatch("/" + path):
        raise Invalid(f"unable to parse docker host `{url}`: {path!r} is no socket's path")
    flags = f"-H unix:///{path} " if path else ""
    return (*words, f"sh -c '{_DIAL.format(flags=flags)}'")


def destination(rest: str, url: str) -> tuple[tuple[str, ...], str]:
    """(words of ssh's command line up to the host, path without its slash) of [USER@]HOST[:PORT][/PATH].

    Raises Invalid for another form.
    """
    where, _, path = rest.partition("/")
    user, at, host = where.rpartition("@")
    if ":" in user:
        raise Invalid(f"unable to parse docker host `{url}`: ssh takes no password in an address")
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    name = name.strip("[]")
    if not name or name.startswith("-") or (at and (not user or user.startswith("-"))):
        raise Invalid(f"unable to parse docker host `{url}`: it names no host")
    if port and not port.isdigit():
        raise Invalid(f"unable to parse docker host `{url}`: {port!r} is not a port")
    options = (*(("-l", user) if user else ()), *(("-p", port) if port else ()))
    return ("ssh", "-T", "-o", "ConnectTimeout=30", *options, "--", name), path


def connect(program: tuple[str, ...]) -> socket.socket:
    """A stream socket at whose other end the program runs. Raises Unreachable when there is no ssh."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            _running.append(
                subprocess.Popen(program, stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True)
            )
    except OSError as error:
        ours.close()
        raise Unreachable(f"cannot run {program[0]}: {error.strerror}", absent=False) from error
    return ours
