"""The guest's own kernel and machine, as far as the agent changes them: its random numbers, its clock, its end."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import Protocol

from corten.guest import devices

_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207  # include/uapi/linux/random.h
_RB_POWER_OFF = 0x4321FEDC
_CPUS = "/sys/devices/system/cpu"
_MEMORY = "/sys/devices/system/memory"


class Machine(Protocol):
    """A process that only plays the agent of a guest has another one: its kernel is the host's."""

    def add_randomness(self, data: bytes) -> None:
        """Two guests that were one until now must not draw the same numbers."""

    def set_clock(self, seconds: float) -> None:
        """Since the epoch."""

    def take_cpus(self) -> None:
        """Use every processor that was plugged in."""

    def take_memory(self, block: str = "") -> None:
        """Use the memory that was plugged in: that block of it, or all."""

    def take_devices(self, network: bool) -> None:
        """Use the devices that this machine has in the places of its template's; `network`: the interface as well."""


class Own:
    def add_randomness(self, data: bytes) -> None:
        device = os.open("/dev/urandom", os.O_RDWR | os.O_CLOEXEC)
        try:
            entropy = struct.pack("ii", 8 * len(data), len(data)) + data
            fcntl.ioctl(device, _RNDADDENTROPY, entropy)
            fcntl.ioctl(device, _RNDRESEEDCRNG)
        finally:
            os.close(device)

    def set_clock(self, seconds: float) -> None:
        time.clock_settime(time.CLOCK_REALTIME, seconds)

    def take_cpus(self) -> None:
        for name in os.listdir(_CPUS):
            if name.startswith("cpu") and name[3:].isdigit():
                _write_if_not(f"{_CPUS}/{name}/online", b"1")

    def take_memory(self, block: str = "") -> None:
        try:
            blocks = [block] if block else os.listdir(_MEMORY)
        except FileNotFoundError:  # a kernel without hotplug
            return
        for name in blocks:
            if name.startswith("memory"):
                _write_if_not(f"{_MEMORY}/{name}/online", b"1", f"{_MEMORY}/{name}/state", b"online_movable")

    def take_devices(self, network: bool) -> None:
        devices.take_up(network)


def _write_if_not(path: str, value: bytes, instead: str = "", words: bytes = b"") -> None:
    """Write `value` to the file (`words` to `instead`) when it has another one. The first processor has no file. The
    kernel may do the same at the same time, and refuses what is done (EINVAL)."""
    if _content(path) in (value, None):
        return
    try:
        with open(instead or path, "wb", buffering=0) as file:
            file.write(words or value)
    except OSError as error:
        if _content(path) not in (value, None):
            raise OSError(error.errno, f"{instead or path}: {os.strerror(error.errno or 0).lower()}") from error


def _content(path: str) -> bytes | None:
    """None of a file that is not there."""
    try:
        return devices.read(path).strip()
    except FileNotFoundError:
        return None


def power_off() -> None:
    """sync(2), then the end of the machine."""
    from corten.kernel import syscall as sys

    os.sync()
    sys.syscall("reboot", sys.SYS_reboot, 0xFEE1DEAD, 0x28121969, _RB_POWER_OFF, None)
