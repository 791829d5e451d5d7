"""System call numbers by architecture, as OCI and libseccomp name the architectures.

Own tables, because the machine's libseccomp is older than its kernel: what it does not know it cannot allow, and a
container gets EPERM where it should get ENOSYS or the call.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import NamedTuple


class Architecture(NamedTuple):
    """`audit` is the kernel's AUDIT_ARCH_*; `bits` the width in which arguments are compared; `mark` is added to every
    number (x32 shares x86-64's audit value)."""

    name: str
    audit: int
    bits: int
    mark: int
    table: str


X32_BIT = 0x40000000

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("SCMP_ARCH_X86_64", 0xC000003E, 64, 0, "x86_64"),
        Architecture("SCMP_ARCH_X86", 0x40000003, 32, 0, "x86"),
        Architecture("SCMP_ARCH_X32", 0xC000003E, 32, X32_BIT, "x32"),
        Architecture("SCMP_ARCH_AARCH64", 0xC00000B7, 64, 0, "aarch64"),
        Architecture("SCMP_ARCH_ARM", 0x40000028, 32, 0, "arm"),
    )
}

_MACHINES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


@cache
def native() -> str:
    """This machine's architecture. Raises KeyError on one that Corten does not run on."""
    return _MACHINES[os.uname().machine]


def parse(text: str) -> dict[str, int]:
    """Lines "NUMBER: NAME NAME ...": the names have this number and those that follow it."""
    found = {}
    for line in text.split("\n"):
        first, _, names = line.partition(":")
        for offset, name in enumerate(names.split()):
            found[name] = int(first) + offset
    return found


@cache
def numbers(architecture: str) -> dict[str, int]:
    """Name to number, marks included. Read when first asked for: a start that finds its filter cached needs none."""
    known = ARCHITECTURES[architecture]
    table: dict[str, int] = import_module(f"corten.spec.syscalls_{known.table}").NUMBERS
    return {name: number | known.mark for name, number in table.items()} if known.mark else table
