"""What differs between the machines of QEMU that guests have: one row for each architecture, by its name in uname(2).

A guest of the host's own architecture has the host's Python. One of another architecture has a Python of that, which
lies beside its kernel (`vm.kernels`), and is always emulated.
"""

from __future__ import annotations

from typing import NamedTuple

from corten.errors import Unsupported


class Architecture(NamedTuple):
    """`machine` and `emulated` are QEMU's words for the machine and for the processor of an emulated one, `console` the
    kernel's for the serial port, `words` for the rest. `grows`: processors can be plugged in."""

    name: str
    go: str  # in platforms of images
    program: str
    package: str
    machine: str
    emulated: str
    console: str
    words: str
    grows: bool


ARCHITECTURES = {
    row.name: row
    for row in (
        Architecture(
            "x86_64",
            "amd64",
            "qemu-system-x86_64",
            "qemu-system-x86",
            "q35,hpet=off,vmport=off,usb=off",
            # Without the promise that copying by bytes is quick (enhanced rep movsb): a kernel clears and copies its
            # pages so where it is given, and emulated each byte is a round of its own.
            "max,-erms",
            "ttyS0",
            "no_timer_check",  # whether its interrupt comes in time: on a busy host it does not, and the kernel panics
            True,
        ),
        Architecture(
            # without the architecture's own algorithm for signatures of pointers, which takes most of an emulated start
            "aarch64",
            "arm64",
            "qemu-system-aarch64",
            "qemu-system-arm",
            "virt",
            "max,pauth-impdef=on",
            "ttyAMA0",
            "",
            False,
        ),
    )
}


def architecture(name: str) -> Architecture:
    """Unsupported for one that there are no guests of."""
    if name not in ARCHITECTURES:
        raise Unsupported(f"guests are {' or '.join(ARCHITECTURES)}, not {name}")
    return ARCHITECTURES[name]


def of_platform(go: str) -> str:
    """Its name, by that in the platform of an image. Unsupported as above."""
    for row in ARCHITECTURES.values():
        if row.go == go:
            return row.name
    raise Unsupported(f"guests are {' or '.join(row.go for row in ARCHITECTURES.values())}, not {go}")
