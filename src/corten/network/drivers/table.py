"""The drivers by name, as Docker calls them: the only place where a name decides anything."""

from __future__ import annotations

from collections.abc import Mapping

from corten.network.driver import Driver
from corten.network.drivers.bridge import BridgeDriver
from corten.network.drivers.host import HostDriver
from corten.network.drivers.ipvlan import IpvlanDriver
from corten.network.drivers.macvlan import MacvlanDriver
from corten.network.drivers.none import NoneDriver
from corten.network.flows import Flows
from corten.network.host_firewall import HostFirewall
from corten.network.links import HostLinks
from corten.network.reaper import Reaper


def drivers(
    links: HostLinks, firewall: HostFirewall, reaper: Reaper, flows: Flows, warnings: list[str]
) -> Mapping[str, Driver]:
    return {
        "bridge": BridgeDriver(links, firewall, reaper, flows),
        "macvlan": MacvlanDriver(links, warnings),
        "ipvlan": IpvlanDriver(links, warnings),
        "host": HostDriver(),
        "null": NoneDriver(),
    }
