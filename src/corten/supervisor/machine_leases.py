"""Addresses for a machine by DHCP, on its own tap alone: each interface has one client, and one fixed address."""

from __future__ import annotations

import socket

from corten.spec import dhcp
from corten.spec.dhcp import Lease
from corten.supervisor.loop import Loop
from corten.supervisor.tap_sockets import TapSockets


class Leases:
    """Of the interfaces of one machine."""

    def __init__(self, loop: Loop) -> None:
        self._taps = TapSockets(loop)

    def add(self, device: int, lease: Lease) -> None:
        """`device` is the tap of one."""

        def came(tap: socket.socket, frame: bytes) -> None:
            asked = dhcp.parse(frame)
            if asked is not None and (said := dhcp.answer(asked, lease)) is not None:
                tap.send(said)

        self._taps.add(device, dhcp.SERVER, came)

    def close(self) -> None:
        self._taps.close()
