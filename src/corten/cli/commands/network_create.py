"""corten network create: make a network and print its id."""

from __future__ import annotations

import _socket

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, LABEL, LIST, MAP, STRING, flag
from corten.cli.output import err, out
from corten.client import networks
from corten.spec.docker.networking import IPAM, ConfigReference, IPAMConfig, NetworkCreate
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    other = flags.text("config-from")
    config = NetworkCreate(
        name=flags.words[0],
        driver=flags.text("driver"),
        internal=flags.on("internal"),
        attachable=flags.on("attachable"),
        ingress=flags.on("ingress"),
        config_only=flags.on("config-only"),
        scope=flags.text("scope"),
        options=flags.pairs("opt"),
        labels=flags.pairs("label"),
        ipam=IPAM(driver=flags.text("ipam-driver"), options=flags.pairs("ipam-opt"), config=ranges(flags)),
        enable_ipv4=flags.on("ipv4") if "ipv4" in flags else UNSET,
        enable_ipv6=flags.on("ipv6") if "ipv6" in flags else UNSET,
        config_from=ConfigReference(network=other) if other else UNSET,
    )
    answer = networks.create(session.client, config)
    if answer.get("Warning"):
        err(f"WARNING: {answer['Warning']}")
    out(answer["Id"])
    return 0


def ranges(flags: Flags) -> list[IPAMConfig]:
    """One IPAM range for each --subnet, with the gateway, range and addresses that lie inside it.

    Raises CommandError for a bad one.
    """
    found = {subnet: IPAMConfig(subnet=subnet) for subnet in flags.many("subnet")}
    if len(found) != len(flags.many("subnet")):
        raise CommandError("the same subnet is given twice")
    for address in flags.many("ip-range"):
        subnet = _owner(found, address, "ip-range", lambda config: config.ip_range)
        found[subnet] = found[subnet].replace(ip_range=address)
    for address in flags.many("gateway"):
        subnet = _owner(found, address, "gateway", lambda config: config.gateway)
        found[subnet] = found[subnet].replace(gateway=address)
    for pair in flags.many("aux-address"):
        name, _, address = pair.partition("=")
        subnet = _owner(found, address, "aux-address")
        others = found[subnet].auxiliary_addresses or {}
        found[subnet] = found[subnet].replace(auxiliary_addresses={**others, name: address})
    return list(found.values())


def _owner(
    subnets: dict[str, IPAMConfig], address: str, flag_name: str, taken: Callable[[IPAMConfig], str] | None = None
) -> str:
    """The subnet of an address, where `taken` says that it has none yet."""
    for subnet, config in subnets.items():
        if contains(subnet, address.partition("/")[0]):
            if taken and taken(config):
                other = taken(config)
                raise CommandError(f"cannot configure multiple {flag_name}s ({other} and {address}) on one subnet")
            return subnet
    raise CommandError(f"no matching subnet for {flag_name} {address}")


def contains(subnet: str, address: str) -> bool:
    """Whether an address lies in a subnet; False when either is malformed, which the daemon will explain."""
    network, _, bits = subnet.partition("/")
    family = _socket.AF_INET6 if ":" in network else _socket.AF_INET
    try:
        first, second = (int.from_bytes(_socket.inet_pton(family, text), "big") for text in (network, address))
        shift = (128 if family == _socket.AF_INET6 else 32) - int(bits)
    except (OSError, ValueError):
        return False
    return shift >= 0 and first >> shift == second >> shift


COMMAND = Command(
    run,
    "[OPTIONS] NETWORK",
    "Make a network",
    (
        flag("attachable", BOOL, "Let containers be attached by hand"),
        flag("aux-address", MAP, "Addresses of others in the subnet (name=address)"),
        flag("config-from", STRING, "Take the configuration of this network"),
        flag("config-only", BOOL, "Make a configuration only"),
        flag("driver", STRING, "Driver of the network", "d"),
        flag("gateway", LIST, "Gateway of the subnet"),
        flag("ingress", BOOL, "Make a swarm's routing mesh", hidden=True),
        flag("internal", BOOL, "Do not connect it to the outside"),
        flag("ip-range", LIST, "Give containers addresses from this range"),
        flag("ipam-driver", STRING, "Driver of the addresses", default="default"),
        flag("ipam-opt", MAP, "Option of the driver of the addresses"),
        flag("ipv4", BOOL, "Give IPv4 addresses", default=True),
        flag("ipv6", BOOL, "Give IPv6 addresses"),
        flag("label", LABEL, "Attach a label"),
        flag("opt", MAP, "Option of the driver", "o"),
        flag("scope", STRING, "Scope of the network"),
        flag("subnet", LIST, "Subnet, in CIDR"),
    ),
    least=1,
    most=1,
)
