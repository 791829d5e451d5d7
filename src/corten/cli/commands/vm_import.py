"""corten vm import: a machine of an archive that `vm export` has written."""

from __future__ import annotations

import os

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.cli.flags import Flags
    from corten.cli.session import Session

_PIECE = 1 << 20


def run(session: Session, flags: Flags) -> int:
    path, files = flags.words[0], (flags.text("kernel"), flags.text("initrd"))
    if path == "-":
        out(machines.take_in(session.client, flags.text("name"), _pieces(0), *files)["Name"])
        return 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    try:
        out(machines.take_in(session.client, flags.text("name"), _pieces(fd), *files)["Name"])
    finally:
        os.close(fd)
    return 0


def _pieces(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, _PIECE):
        yield data


COMMAND = Command(
    run,
    "[OPTIONS] FILE|-",
    "Make a machine of an archive that 'vm export' has written",
    (
        flag("initrd", STRING, "Initial file system of a machine that boots a kernel, on the engine's host"),
        flag("kernel", STRING, "Kernel of a machine that boots one, on the engine's host"),
        flag("name", STRING, "What it is called (default as it was)"),
    ),
    least=1,
    most=1,
)
