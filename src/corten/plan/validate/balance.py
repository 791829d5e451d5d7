"""HostConfig.BalancedPorts, an addition of ours: ports of this host that a container shares with others."""

from __future__ import annotations

import ipaddress

from corten.errors import Invalid
from corten.plan.namespaces import own_network
from corten.plan.validate.network import parse_port, port_range
from corten.plan.validate.text import check_word
from corten.spec.docker.host_config import HostConfig

MOST = 64  # of one container


def check_balanced_ports(host: HostConfig) -> None:
    """Raises Invalid."""
    ports = host.balanced_ports or ()
    if len(ports) > MOST:
        raise Invalid(f"a container shares {MOST} balanced ports at most, and not {len(ports)}")
    if ports and not own_network(host):
        raise Invalid("conflicting options: balanced ports and a network that is not the container's own")
    seen = set[tuple[str, str, str]]()
    for each in ports:
        check_word("group of a balanced port", each.group)
        if not each.group:
            raise Invalid("a balanced port has no group")
        first, last, protocol = parse_port(each.port)
        if first != last or not first:
            raise Invalid(f"invalid balanced port {each.port!r}: it is one port of the container")
        first, last = port_range(each.host_port or "0")
        if first != last or not first:
            raise Invalid(f"balanced port {each.port} needs one port of this host, and not {each.host_port!r}")
        key = (protocol, _address(each.host_ip), str(first))
        if key in seen:
            raise Invalid(f"port {first}/{protocol} of this host is given twice")
        seen.add(key)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError:
        raise Invalid(f'invalid IP address of a balanced port: "{text}"') from None
