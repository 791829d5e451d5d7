"""corten info: the state of the engine."""

from __future__ import annotations

from corten.cli import about
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import STRING, flag
from corten.cli.output import draw, err, out
from corten.client import system
from corten.client.errors import ApiError, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags
    from corten.cli.session import Session


# Fields that a daemon may leave out.
OPTIONAL = ("Warnings", "CDISpecDirs", "FirewallBackend", "DiscoveredDevices", "ProductLicense", "DefaultAddressPools")


def run(session: Session, flags: Flags) -> int:
    failure: Unreachable | ApiError | None = None
    server: dict[str, Any] = {}
    try:
        server = system.info(session.client)
    except (Unreachable, ApiError) as error:
        failure = error
    client = {"Debug": session.debug, **about.client(""), "Plugins": [], "Warnings": None}
    del client["ApiVersion"]
    if flags.text("format"):
        from corten.cli.formats.typed import struct
        from corten.cli.gotemplate.documents import one

        shown = struct({**server, "ClientInfo": client}, "system.dockerInfo", dict.fromkeys(OPTIONAL, None))
        try:
            draw(one(flags.text("format"), shown))
        except CommandError:
            if failure is None:
                raise  # and otherwise what the template asks for is missing because there is no daemon
        if failure is None:
            return 0
    else:
        from corten.cli.formats.info import page

        out(page(client, server if failure is None else None))
    if failure is not None:
        err(f"ERROR: {failure}\nerrors pretty printing info" if not flags.text("format") else str(failure))
        return 1
    for warning in server.get("Warnings") or ():
        err(warning)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS]",
    "Show the state of the engine",
    (flag("format", STRING, "'json', or a Go template", "f"),),
    most=0,
)
