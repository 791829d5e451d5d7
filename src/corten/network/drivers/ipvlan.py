"""The ipvlan driver: devices with their parent's MAC; in the modes l3 and l3s the kernel routes between them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from corten.errors import Unsupported
from corten.kernel import rtnetlink
from corten.kernel.netlink import Request
from corten.kernel.rtnetlink import IPAddress
from corten.network.definition import Definition
from corten.network.drivers.parented import ParentedDriver
from corten.network.interface import InterfaceSpec

_FLAG = "ipvlan_flag"


class IpvlanDriver(ParentedDriver):
    """`driver.Driver`."""

    kind = "ipvlan"
    modes = {"l2": 0, "l3": 1, "l3s": 2}
    default_mode = "l2"

    def check(self, definition: Definition) -> None:
        super().check(definition)
        if (flag := definition.options.get(_FLAG, "bridge")) != "bridge":
            raise Unsupported(f"option {_FLAG}={flag}: only bridge is available")

    def kernel_mode(self, made: Definition) -> bytes:
        return struct.pack("=H", self.modes[self.mode(made)])

    def mac_of(self, spec: InterfaceSpec) -> str:
        return ""

    def default_routes(self, definition: Definition, index: int, gateways: Sequence[IPAddress]) -> list[Request]:
        """Through the gateways, or the device itself where there are no neighbours."""
        if self.mode(definition) == "l2":
            return super().default_routes(definition, index, gateways)
        families = {socket.AF_INET if gateway.version == 4 else socket.AF_INET6 for gateway in gateways}
        return [rtnetlink.route(index, None, family=family, replace=True) for family in sorted(families)]
