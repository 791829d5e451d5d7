"""The macvlan driver: devices with MACs of their own."""

from __future__ import annotations

import struct

from corten.network.definition import Definition
from corten.network.drivers.parented import ParentedDriver
from corten.network.interface import InterfaceSpec


class MacvlanDriver(ParentedDriver):
    """`driver.Driver`. In the mode "bridge" its containers reach one another."""

    kind = "macvlan"
    modes = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
    default_mode = "bridge"

    def kernel_mode(self, made: Definition) -> bytes:
        return struct.pack("=I", self.modes[self.mode(made)])

    def mac_of(self, spec: InterfaceSpec) -> str:
        return spec.mac
