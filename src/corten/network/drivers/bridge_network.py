"""What the kernel has to have for a bridge network and its endpoints. Pure."""

from __future__ import annotations

from corten.network.bridges import Port
from corten.network.driver import ActiveNetwork
from corten.network.drivers.bridge_options import bridge_name, cluster, gateway_mode, icc, masquerade, on_bridge
from corten.network.firewall import Bridge
from corten.network.interface import Interface


def gateways(network: ActiveNetwork) -> list[Interface]:
    """The addresses that its bridge has on this host."""
    return [g for g in network.addresses.gateways if on_bridge(network.definition, g.version)]


def ports(network: ActiveNetwork) -> list[Port]:
    """What belongs into its bridge."""
    isolated = not icc(network.definition)
    return [Port(e.host_index, isolated, e.hairpin) for e in network.endpoints.values() if e.host_index is not None]


def rules(network: ActiveNetwork) -> Bridge:
    """What the firewall has to know of it."""
    made = network.definition
    subnets = tuple(s.network for s in network.addresses.subnets)
    routed, unprotected = (
        tuple(s for s in subnets if gateway_mode(made, s.version) == mode) for mode in ("routed", "nat-unprotected")
    )
    return Bridge(
        bridge_name(made), subnets, made.internal, icc(made), masquerade(made), routed, unprotected, cluster(made)
    )
