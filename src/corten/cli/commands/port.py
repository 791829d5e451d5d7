"""corten port: list the published ports of a container."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.formats.container import join_host_port
from corten.cli.output import out
from corten.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    ref = flags.words[0]
    published = containers.inspect(session.client, ref)["NetworkSettings"].get("Ports") or {}
    if len(flags.words) > 1:
        wanted, slash, protocol = flags.words[1].partition("/")
        _check_port(wanted)
        bindings = published.get(f"{wanted}/{protocol if slash else 'tcp'}")
        if not bindings:
            raise CommandError(f"Error: No public port '{flags.words[1]}' published for {ref}")
        lines = [join_host_port(one["HostIp"], one["HostPort"]) for one in bindings]
    else:
        lines = [
            f"{port} -> {join_host_port(one['HostIp'], one['HostPort'])}"
            for port in sorted(published, key=_port_order)
            for one in published[port] or ()
        ]
    if lines:
        out("\n".join(lines))
    return 0


def _check_port(text: str) -> None:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        reason = "value out of range" if text.isascii() and text.isdigit() else "invalid syntax"
        raise CommandError(f'Error: invalid port ({text}): strconv.ParseUint: parsing "{text}": {reason}')


def _port_order(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return int(number), protocol


COMMAND = Command(
    run,
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List the published ports of a container, or where one of them is",
    least=1,
    most=2,
)
