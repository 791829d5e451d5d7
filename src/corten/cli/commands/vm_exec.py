"""corten vm exec: run a program in a machine, by QEMU's agent there."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import ENV, INT, flag
from corten.cli.output import STDERR, STDOUT, write_all
from corten.client import machines
from corten.spec.docker.machine import MachineExec
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    words = flags.words[2:] if flags.words[1] == "--" else flags.words[1:]
    asked = MachineExec(cmd=words, env=flags.many("env") or UNSET)
    code, said, complained = machines.execute(session.client, flags.words[0], asked, flags.number("timeout"))
    write_all(STDOUT, said)
    write_all(STDERR, complained)
    return code


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE COMMAND [ARG...]",
    "Run a program in a machine, by QEMU's agent there",
    (
        flag("env", ENV, "Set an environment variable", "e"),
        flag("timeout", INT, "Seconds to wait for its end", default=600),
    ),
    least=2,
    interspersed=False,
)
