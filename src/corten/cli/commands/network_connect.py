"""corten network connect: connect a container to a network."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.flags import ADDRESS, INT, LINK, LIST, MAP, STRING, flag
from corten.client import networks
from corten.spec.docker.networking import ConnectRequest, EndpointIPAMConfig, EndpointSettings
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    network, container = flags.words
    addresses = EndpointIPAMConfig(
        ipv4_address=flags.text("ip") or UNSET,
        ipv6_address=flags.text("ip6") or UNSET,
        link_local_ips=flags.many("link-local-ip") or UNSET,
    )
    endpoint = EndpointSettings(
        ipam_config=addresses if addresses.given_json() else UNSET,
        aliases=flags.many("alias") or UNSET,
        links=flags.many("link") or UNSET,
        driver_opts=flags.pairs("driver-opt") or UNSET,
        gw_priority=flags.number("gw-priority") if "gw-priority" in flags else UNSET,
    )
    networks.connect(session.client, network, ConnectRequest(container=container, endpoint_config=endpoint))
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
