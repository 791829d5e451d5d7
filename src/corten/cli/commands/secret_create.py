"""corten secret create: store a secret and print its id."""

from __future__ import annotations

import sys

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import LABEL, flag
from corten.cli.output import out
from corten.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

_MOST = 500 * 1024  # bytes: what the daemon takes
_ENDLESS = "that is more than a secret may have: 500 KiB"


def run(session: Session, flags: Flags) -> int:
    name, path = (*flags.words, "-")[:2]
    out(secrets.create(session.client, name, _read(path), flags.pairs("label")))
    return 0


def _read(path: str) -> bytes:
    """At most a secret's bytes: a pipe may never end."""
    if path == "-":
        text = sys.stdin.buffer.read(_MOST + 1)
    else:
        try:
            with open(path, "rb") as file:
                text = file.read(_MOST + 1)
        except OSError as error:
            raise CommandError(f"cannot read {path}: {error.strerror}") from None
    if len(text) > _MOST:
        raise CommandError(f"{path}: {_ENDLESS}")
    return text


COMMAND = Command(
    run,
    "[OPTIONS] SECRET [FILE|-]",
    "Store a secret: the content of a file, or of standard input",
    (flag("label", LABEL, "Attach a label", "l"),),
    least=1,
    most=2,
)
