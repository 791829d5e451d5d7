"""Names of the options of networks and endpoints, as Docker's clients send them, and the values that are alike."""

from __future__ import annotations

from collections.abc import Mapping

from corten.errors import Invalid
from corten.units.booleans import parse_bool

BRIDGE_NAME = "com.docker.network.bridge.name"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
INHIBIT_IPV4 = "com.docker.network.bridge.inhibit_ipv4"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv"  # and the family's number
MTU = "com.docker.network.driver.mtu"
INTERFACE_PREFIX = "com.docker.network.container_iface_prefix"
INTERFACE_NAME = "com.docker.network.endpoint.ifname"  # of an endpoint
HAIRPIN = "corten.endpoint.hairpin"  # of an endpoint; ours
PARENT = "parent"
CLUSTER = "corten.bridge.cluster"  # of the default network; ours


def truth(options: Mapping[str, str], key: str, default: bool) -> bool:
    """An option that is a yes or no. Invalid for other words."""
    text = options.get(key, "")
    try:
        return parse_bool(text) if text else default
    except ValueError:
        raise Invalid(f"invalid value {text!r} for option {key}: true or false is needed") from None
