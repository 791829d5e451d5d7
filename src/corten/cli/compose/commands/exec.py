"""corten compose exec: run a command in a service's container."""

from __future__ import annotations

from corten.cli.commands.exec import COMMAND as EXEC
from corten.cli.compose.choosing import one
from corten.cli.compose.context import Command
from corten.cli.compose.passing import given, pass_on
from corten.cli.flags import BOOL, ENV, INT, STRING, flag
from corten.cli.terminal import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    service, *command = flags.words
    container = one(compose, service, flags.number("index"))
    words = given(flags, "detach", "env", "privileged", "user", "workdir")
    tty = not flags.on("no-tty") and not flags.on("detach") and is_terminal(0) and is_terminal(1)
    words += [f"--tty={str(tty).lower()}", f"--interactive={str(flags.on('interactive')).lower()}"]
    return pass_on(compose, EXEC, [*words, "--", container.id, *command])


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE COMMAND [ARG...]",
    "Run a command in a service's container",
    (
        flag("detach", BOOL, "Run it in the background", "d"),
        flag("env", ENV, "Set an environment variable", "e"),
        flag("index", INT, "In the container with this number"),
        flag("interactive", BOOL, "Keep STDIN open", "i", default=True),
        flag("no-tty", BOOL, "Without a terminal (it gets one where we have one)", "T"),
        flag("privileged", BOOL, "Give the command every privilege"),
        flag("tty", BOOL, "Accepted and not used", "t", hidden=True),
        flag("user", STRING, "User, by name or number", "u"),
        flag("workdir", STRING, "Working directory", "w"),
    ),
    least=2,
    interspersed=False,
)
