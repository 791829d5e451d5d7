"""corten network disconnect: disconnect a container from a network."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import BOOL, flag
from corten.client import networks
from corten.spec.docker.networking import DisconnectRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    network, container = flags.words
    networks.disconnect(session.client, network, DisconnectRequest(container=container, force=flags.on("force")))
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] NETWORK CONTAINER",
    "Disconnect a container from a network",
    (flag("force", BOOL, "Also when the container is gone", "f"),),
    least=2,
    most=2,
)
