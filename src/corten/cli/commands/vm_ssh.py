"""corten vm ssh: open a shell in a machine, or run a command there, by ssh."""

from __future__ import annotations

import os

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import INT, LIST, STRING, flag
from corten.cli.options.reaching import reached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    user, _, name = flags.words[0].rpartition("@")
    way = reached(session, name, flags.number("port"))
    words = flags.words[2:] if flags.words[1:2] == ["--"] else flags.words[1:]
    command = ["ssh", *way.options, "-p", str(way.port)]
    for file in flags.many("identity"):
        command += ["-i", file]
    if user := flags.text("user") or user:
        command += ["-l", user]
    command += [way.host, *(["--", *words] if words else [])]
    try:
        os.execvp("ssh", command)
    except FileNotFoundError:
        raise CommandError("ssh is missing here: install openssh-client") from None


COMMAND = Command(
    run,
    "[OPTIONS] [USER@]MACHINE [COMMAND] [ARG...]",
    "Open a shell in a machine by ssh, or run a command there",
    (
        flag("identity", LIST, "File of a private key", "i"),
        flag("port", INT, "Port of the machine's ssh server (default 22)", default=22),
        flag("user", STRING, "User in the machine", "l"),
    ),
    least=1,
    interspersed=False,
)
