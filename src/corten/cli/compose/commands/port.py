"""corten compose port: where a port of a service is published."""

from __future__ import annotations

from corten.cli.compose.choosing import one
from corten.cli.compose.context import Command
from corten.cli.errors import CommandError
from corten.cli.flags import INT, STRING, flag
from corten.cli.formats.container import join_host_port
from corten.cli.output import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    service, text = flags.words
    number, _, protocol = text.partition("/")
    protocol = (protocol or flags.text("protocol")).lower()
    if not (number.isascii() and number.isdigit()):
        raise CommandError(f'strconv.ParseUint: parsing "{number}": invalid syntax')
    container = one(compose, service, flags.number("index"))
    for each in container.listed.get("Ports") or ():
        if each.get("PrivatePort") == int(number) and each.get("Type") == protocol and each.get("PublicPort"):
            out(join_host_port(each.get("IP") or "", str(each["PublicPort"])))
            return 0
    raise CommandError(f"no port {number}/{protocol} for container {container.name}")


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE PRIVATE_PORT",
    "Show where a port of a service is published",
    (
        flag("index", INT, "Of the container with this number"),
        flag("protocol", STRING, "tcp or udp", default="tcp"),
    ),
    least=2,
    most=2,
)
