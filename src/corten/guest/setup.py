"""What makes one guest of many that were the same: {"random": hexadecimal, "time": seconds since the epoch, "hostname",
"interfaces": see `network.Interface`, "names": whether 127.0.0.11 answers, "swap"?}.
"""

from __future__ import annotations

from typing import Any

from corten.guest import network
from corten.guest.machine import Machine
from corten.guest.names import Names
from corten.kernel import process

Json = dict[str, Any]


def configure(message: Json, machine: Machine, names: Names) -> None:
    machine.add_randomness(bytes.fromhex(message["random"]))  # before anything draws a number
    machine.set_clock(message["time"])
    machine.take_devices(bool(message["interfaces"]))
    process.set_hostname(message["hostname"])
    for one in message["interfaces"]:
        network.attach(network.interface(one))
    if message["names"]:
        names.serve()
