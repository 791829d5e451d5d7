"""The daemon's configuration, as far as it is about networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corten.network.ipam import DEFAULT_POOLS, Pool


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """`bridge` "none" means no default bridge; then `tag` has to tell daemons of one host apart. An empty one is to be
    chosen (`default_bridge.chosen`), by `owner`, which no other daemon of this host has.

    `bip` is the default bridge's own address with its prefix length, `fixed_cidr` the part of its subnet that is
    for containers; `host_ip` is what an empty HostIp of a published port means (empty: every address); `mtu` 0 is the
    kernel's; `dns`, `dns_search` and `dns_options` are for containers that bring none of their own.
    """

    bridge: str = "corten0"
    bip: str = ""
    fixed_cidr: str = ""
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
