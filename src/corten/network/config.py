"""The daemon's configuration, as far as it is about networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corten.network.ipam import DEFAULT_POOLS, IPNetwork, Pool


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """`bridge` "none" means no default bridge; then `tag` has to tell daemons of one host apart. An empty one is to be
    chosen (`default_bridge.chosen`), by `owner`, which no other daemon of this host has.

    bip                    the default bridge's own address with its prefix length
    fixed_cidr             the part of its subnet that is for containers
    fixed_cidr6            its IPv6 subnet
    default_gateway(6)     the next hop of its containers, where that is not the bridge
    host_gateway           what "host-gateway" means in an extra host (empty: the bridge's address)
    host_ip                what an empty HostIp of a published port means (empty: every address)
    mtu                    0 is the kernel's
    default_options        options of new networks, by driver
    cluster                where pods of all nodes have their addresses: default network and these know the way to one
                           another, so nothing is translated and every port is reached
    dns, dns_search, dns_options   for containers that bring none of their own
    """

    bridge: str = "corten0"
    bip: str = ""
    fixed_cidr: str = ""
    fixed_cidr6: str = ""
    default_gateway: str = ""
    default_gateway6: str = ""
    host_gateway: str = ""
    default_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cluster: Sequence[IPNetwork] = ()
    pools: Sequence[Pool] = DEFAULT_POOLS
    mtu: int = 0
    icc: bool = True
    masquerade: bool = True
    host_ip: str = ""
    ipv6: bool = False
    dns: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    dns_options: Sequence[str] = ()
    tag: str = ""
    owner: str = ""
    resolv_conf: Path = Path("/etc/resolv.conf")
    hosts: Path = Path("/etc/hosts")

    @property
    def label(self) -> str:
        """What makes this daemon's names its own."""
        return self.tag or self.bridge

    @property
    def has_default(self) -> bool:
        return self.bridge not in ("", "none")
