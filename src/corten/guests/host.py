"""What this machine has for guests: QEMU, a kernel, an accelerator, memory. Reads files, executes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corten.errors import Exhausted, NotFound, Unsupported
from corten.vm.architectures import architecture
from corten.vm.contract import Shape

if TYPE_CHECKING:  # loaded where there are guests
    from corten.vm.kernels import Kernel

HERE = os.uname().machine
PLACES = (Path(sys.prefix) / "share/corten/kernel", Path("/"))  # of kernels, where none is configured

MEMORY = 256 << 20  # bytes at the boot of every guest; the rest is plugged in
CPUS = {"kvm": 2, "tcg": 1}  # the same: emulated, a second one makes a start a third dearer
OVERHEAD = 64 << 20  # bytes for a guest's own kernel, beside the limit of its container
_GRAIN = 2 << 20
_MACHINE = 192 << 20  # bytes that QEMU itself may take, emulating
_MOST_CPUS = 32  # each that may come costs a guest memory from the beginning


class Accelerator(NamedTuple):
    """`name` is QEMU's; `reason` says why it is this one, and `hint` what that means where it is slow."""

    name: str
    reason: str
    hint: str


def accelerator() -> Accelerator:
    """By a probe of milliseconds (`kernel.kvm`)."""
    from corten.kernel import kvm

    found = kvm.probe()
    if found.kind == "hardware":
        return Accelerator("kvm", found.reason, "")
    if found.kind == "pvm":
        return Accelerator(
            "tcg", found.reason, "guests are emulated: this KVM is fast only for kernels that are made for it"
        )
    return Accelerator("tcg", found.reason, "guests are emulated, ten to thirty times slower than the processor")


def qemu(machine: str = HERE) -> str:
    """The program for guests of that architecture. Unsupported with the package's name when it is missing, or where a
    guest could not be confined."""
    kind = architecture(machine)
    found = shutil.which(kind.program, path="/usr/bin:/usr/local/bin:/usr/libexec")
    if found is None:
        raise Unsupported(f"{kind.program} is missing in /usr: install the package {kind.package}")
    return found


def kernel(configured: str, machine: str = HERE) -> tuple[Kernel, Path]:
    """The kernel for guests, and the directory in which it was found. NotFound with the remedy. `configured` is for
    guests of this machine's architecture; others have theirs beside it, with the name of theirs behind its name."""
    from corten.vm import kernels

    places: Sequence[Path] = (Path(configured),) if configured else PLACES
    if machine == HERE:
        found = kernels.find(places)
    else:
        go = architecture(machine).go
        places = tuple(place.with_name(f"{place.name}-{go}") for place in places if place.name)
        try:
            found = kernels.find(places)
        except NotFound:
            raise NotFound(
                f"no kernel for guests of {go} in {places[0]}: scripts/guest-kernel {places[0]} {go} of the source "
                "fetches one"
            ) from None
    return found, next(place for place in places if found.image.is_relative_to(place))


def shape(program: str, accelerator: str, plugged: int = 0, machine: str = HERE) -> Shape:
    """Of guests of this machine, which have `plugged` bytes more than the boot's from the beginning."""
    most = max(total_memory() // _GRAIN * _GRAIN, MEMORY)
    cpus = max(1, min(os.cpu_count() or 1, _MOST_CPUS))
    begins = min(cpus, CPUS[accelerator])
    most_cpus = cpus if architecture(machine).grows else begins
    return Shape(program, accelerator, MEMORY, most, most_cpus, begins, plugged, machine)


def memory(limit: int) -> int:
    """Bytes of a guest for a container that may have `limit`. Exhausted when this machine cannot have that."""
    size = -(-max(limit + OVERHEAD, MEMORY) // _GRAIN) * _GRAIN
    if size > (most := total_memory()):
        raise Exhausted(f"a guest with {size >> 20} MiB of memory: this machine has {most >> 20} MiB")
    return size


def plugged(limit: int) -> int:
    """Bytes beside the boot's of a guest for a container that may have `limit`; not more than this machine has."""
    return max(min(limit + OVERHEAD, total_memory()) - MEMORY, 0) // _GRAIN * _GRAIN


def check_memory() -> None:
    """Exhausted when there is not enough for one more guest."""
    if (free := available_memory()) < MEMORY + _MACHINE:
        raise Exhausted(f"not enough memory for a guest: {free >> 20} MiB of {(MEMORY + _MACHINE) >> 20} are available")


def total_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available_memory(file: str = "/proc/meminfo") -> int:
    with open(file, encoding="ascii") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def mark(path: Path) -> tuple[int, int, int]:
    """What changes when a file becomes another one."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
