"""corten network create: make a network and print its id."""

from __future__ import annotations

import _socket

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.cli.options import texts
from corten.cli.options.table import LABEL, MAP
from corten.cli.output import err, out
from corten.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session


def run(session: Session, flags: Flags) -> int:
    config: dict[str, object] = {
        "Name": flags.words[0],
        "Driver": flags.text("driver"),
        "Internal": flags.on("internal"),
        "Attachable": flags.on("attachable"),
        "Ingress": flags.on("ingress"),
        "ConfigOnly": flags.on("config-only"),
        "Scope": flags.text("scope"),
        "Options": texts.pairs(flags.many("opt")),
        "Labels": texts.labels((), flags.many("label")),
        "IPAM": {
            "Driver": flags.text("ipam-driver"),
            "Options": texts.pairs(flags.many("ipam-opt")),
            "Config": ranges(flags),
        },
    }
    for name, field in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if name in flags:
            config[field] = flags.on(name)
    if flags.text("config-from"):
        config["ConfigFrom"] = {"Network": flags.text("config-from")}
    answer = networks.create(session.client, config)
    if answer.get("Warning"):
        err(f"WARNING: {answer['Warning']}")
    out(answer["Id"])
    return 0


def ranges(flags: Flags) -> list[dict[str, object]]:
    """One IPAM range for each --subnet, with the gateway, range and addresses that lie inside it.

    Raises CommandError for one that lies in none.
    """
    found: dict[str, dict[str, object]] = {subnet: {"Subnet": subnet} for subnet in flags.many("subnet")}
    if len(found) != len(flags.many("subnet")):
        raise CommandError("the same subnet is given twice")
    for field, flag_name in (("IPRange", "ip-range"), ("Gateway", "gateway")):
        for address in flags.many(flag_name):
            owner = _owner(found, address, flag_name)
            if field in owner:
                raise CommandError(
                    f"cannot configure multiple {flag_name}s ({owner[field]} and {address}) on one subnet"
                )
            owner[field] = address
    for pair in flags.many("aux-address"):
        name, _, address = pair.partition("=")
        auxiliary = _owner(found, address, "aux-address").setdefault("AuxiliaryAddresses", {})
        assert isinstance(auxiliary, dict)
        auxiliary[name] = address
    return list(found.values())


def _owner(subnets: dict[str, dict[str, object]], address: str, flag_name: str) -> dict[str, object]:
    for subnet, config in subnets.items():
        if contains(subnet, address.partition("/")[0]):
            return config
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
