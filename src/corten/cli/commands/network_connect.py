"""corten network connect: connect a container to a network."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import INT, LIST, STRING, flag
from corten.cli.options import texts
from corten.cli.options.table import ADDRESS, LINK, MAP
from corten.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    network, container = flags.words
    addresses: dict[str, object] = {}
    for name, field in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if flags.text(name):
            addresses[field] = flags.text(name)
    if flags.many("link-local-ip"):
        addresses["LinkLocalIPs"] = flags.many("link-local-ip")
    endpoint: dict[str, object] = {"IPAMConfig": addresses} if addresses else {}
    for name, field in (("alias", "Aliases"), ("link", "Links")):
        if flags.many(name):
            endpoint[field] = flags.many(name)
    if flags.many("driver-opt"):
        endpoint["DriverOpts"] = texts.pairs(flags.many("driver-opt"))
    if "gw-priority" in flags:
        endpoint["GwPriority"] = flags.number("gw-priority")
    networks.connect(session.client, network, {"Container": container, "EndpointConfig": endpoint})
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    (
        flag("alias", LIST, "Another name of it in the network"),
        flag("driver-opt", MAP, "Option of the network's driver"),
        flag("gw-priority", INT, "The network with the highest has the default gateway"),
        flag("ip", STRING, "IPv4 address"),
        flag("ip6", STRING, "IPv6 address"),
        flag("link", LINK, "Link to another container"),
        flag("link-local-ip", ADDRESS, "Link-local address"),
    ),
    least=2,
    most=2,
)
