"""What a guest has in the place of devices in a network namespace: taps, which its monitor is given."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from corten.kernel.rtnetlink import IPAddress, IPNetwork
from corten.network.interface import InterfaceSpec


class Way(NamedTuple):
    """A route through an interface; without gateway on the link."""

    destination: IPNetwork
    gateway: IPAddress | None


class Tap(NamedTuple):
    """`fd` is the guest's side of a device that is a port of a bridge, or that another interface lends its traffic
    (`network.lent`); `spec` says what the guest makes of it, `ways` which routes it has beside those by gateways."""

    fd: int
    spec: InterfaceSpec
    ways: tuple[Way, ...] = ()


class Routes(NamedTuple):
    """Default routes lead by these gateways, behind the interface of that name."""

    interface: str
    gateways: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class GuestNamespace:
    """`driver.Namespace` of a guest's monitor, in which there is loopback alone: drivers add to `taps` what they would
    make in it for a container, and to `routes` the default routes that they would set."""

    fd: int
    route: int
    taps: list[Tap] = field(default_factory=list)
    routes: list[Routes] = field(default_factory=list)

    def close_taps(self) -> None:
        """The devices stay where a guest has been given them."""
        while self.taps:
            os.close(self.taps.pop().fd)
