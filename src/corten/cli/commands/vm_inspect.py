"""corten vm inspect: everything known about machines."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.inspecting import inspect
from corten.cli.output import out
from corten.client import machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    if flags.on("qemu"):
        from shlex import join

        for name in flags.words:
            out(join(machines.command_line(session.client, name)))
        return 0

    def find(name: str) -> tuple[str, bytes]:
        return "machine", session.client.raw("GET", machines.at(name, "/json"))

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] MACHINE [MACHINE...]",
    "Show everything known about machines",
    (
        flag("format", STRING, "'json', or a Go template", "f"),
        flag("qemu", BOOL, "Show QEMU's command line, which a person can run"),
    ),
    least=1,
)
