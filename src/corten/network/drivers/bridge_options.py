"""The options of a bridge network, read from its definition. Each raises Invalid for a value that cannot be."""

from __future__ import annotations

import ipaddress

from corten.errors import Invalid
from corten.network import options
from corten.network.definition import Definition
from corten.network.ipam import IPNetwork
from corten.network.options import truth

GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")


def bridge_name(made: Definition) -> str:
    """The device's name. Docker's scheme, so that people recognise it."""
    return made.options.get(options.BRIDGE_NAME) or f"br-{made.id[:12]}"


def icc(made: Definition) -> bool:
    """Its containers may talk to one another."""
    return truth(made.options, options.ICC, True)


def masquerade(made: Definition) -> bool:
    """Its packets leave this host with this host's address."""
    return truth(made.options, options.MASQUERADE, True)


def gateway_mode(made: Definition, version: int) -> str:
    """How a family's packets get in and out.

    nat              as the host's, and in by published ports
    nat-unprotected  the same, and in by the container's own address as well
    routed           nothing is translated; in by the container's own address, to published ports
    isolated         not even this host has an address in it
    """
    mode = made.options.get(f"{options.GATEWAY_MODE}{version}") or "nat"
    if mode not in GATEWAY_MODES:
        raise Invalid(f"unknown gateway mode {mode}")
    if mode == "isolated" and not made.internal:
        raise Invalid("gateway mode 'isolated' can only be used for an internal network")
    return mode


def host_binding(made: Definition) -> str:
    """What an empty HostIp means on this network; empty for every address."""
    text = made.options.get(options.HOST_BINDING, "")
    return "" if text == "0.0.0.0" else text


def cluster(made: Definition) -> tuple[IPNetwork, ...]:
    """Where its packets keep their own address to. The daemon's configuration says so, no request can."""
    text = made.options.get(options.CLUSTER, "") if made.default_bridge else ""
    return tuple(map(ipaddress.ip_network, filter(None, text.split(","))))


def on_bridge(made: Definition, version: int) -> bool:
    """The host has the gateway's address of that family."""
    inhibited = version == 4 and truth(made.options, options.INHIBIT_IPV4, False)
    return gateway_mode(made, version) != "isolated" and not inhibited


def check(made: Definition) -> None:
    """All of them."""
    name = bridge_name(made)
    if len(name) > 15 or "/" in name or name in (".", ".."):
        raise Invalid(f"invalid bridge name {name!r}: at most 15 bytes, no slash")
    if any(c.isspace() or not c.isprintable() for c in name):
        raise Invalid(f"invalid bridge name {name!r}")
    _ = (icc(made), masquerade(made), made.mtu, on_bridge(made, 4), on_bridge(made, 6))
