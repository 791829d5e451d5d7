"""corten vm cp: a file between a machine and here, by QEMU's agent there; or files and directories by ssh."""

from __future__ import annotations

import os
import stat
from contextlib import closing

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, INT, LIST, STRING, flag
from corten.cli.output import STDOUT, write_all
from corten.cli.whole import Whole
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.cli.flags import Flags
    from corten.cli.session import Session

_PIECE = 1 << 18


def run(session: Session, flags: Flags) -> int:
    (source, from_), (target, to) = _split(flags.words[0]), _split(flags.words[1])
    if bool(source) == bool(target):
        raise CommandError("one of both is a file in a machine (MACHINE:PATH), and the other one is here")
    if flags.on("ssh"):
        _by_ssh(session, flags, source or target)
    if source:
        _out(session, source, from_, to)
    else:
        _in(session, from_, target, to)
    return 0


def _split(word: str) -> tuple[str, str]:
    """(machine, path); "" for what is here."""
    machine, colon, path = word.partition(":")
    if word == "-" or not colon or word.startswith((".", "/")) or "/" in machine:
        return "", word
    return machine, path


def _out(session: Session, machine: str, path: str, to: str) -> None:
    answer = machines.file(session.client, machine, path)
    if to == "-":
        for part in answer.parts():
            write_all(STDOUT, part)
        return
    if os.path.isdir(to):
        to = os.path.join(to, os.path.basename(path))
    try:
        with closing(Whole(to)) as file:
            for part in answer.parts():
                write_all(file.fd, part)
            file.keep()
    except OSError as error:
        raise CommandError(f"{to}: {error.strerror}") from None


def _in(session: Session, from_: str, machine: str, to: str) -> None:
    if from_ == "-":
        machines.put_file(session.client, machine, to, 0o644, _pieces(0))
        return
    try:
        with open(from_, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if to.endswith("/") or not to:
                to += os.path.basename(from_)
            machines.put_file(session.client, machine, to, stat.S_IMODE(mode), _pieces(file.fileno()))
    except IsADirectoryError:
        raise CommandError(f"{from_} is a directory: --ssh copies those") from None
    except OSError as error:
        raise CommandError(f"{from_}: {error.strerror}") from None


def _pieces(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _PIECE):
        yield data


def _by_ssh(session: Session, flags: Flags, name: str) -> None:
    from corten.cli.options.reaching import reached

    user, _, machine = name.rpartition("@")
    way = reached(session, machine, flags.number("port"))
    user = flags.text("user") or user
    host = f"[{way.host}]" if ":" in way.host else way.host
    there = f"{user}@{host}:" if user else f"{host}:"
    words = [f"{there}{path}" if given else os.path.join(".", path) for given, path in map(_split, flags.words)]
    keys = [word for file in flags.many("identity") for word in ("-i", file)]
    try:
        os.execvp("scp", ["scp", "-r", "-p", *way.options, "-P", str(way.port), *keys, "--", *words])
    except FileNotFoundError:
        raise CommandError("scp is missing here: install openssh-client") from None


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE:PATH DEST_PATH|-\n       corten vm cp [OPTIONS] SRC_PATH|- MACHINE:PATH",
    "Copy a file between a machine and here, by QEMU's agent there",
    (
        flag("identity", LIST, "File of a private key, with --ssh", "i"),
        flag("port", INT, "Port of the machine's ssh server, with --ssh", default=22),
        flag("ssh", BOOL, "Copy by ssh (scp) instead: directories as well"),
        flag("user", STRING, "User in the machine, with --ssh", "l"),
    ),
    least=2,
    most=2,
)
