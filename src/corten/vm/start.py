"""From a section of a request to a running machine that has all that belongs to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from corten.kernel import memfd
from corten.vm import template
from corten.vm.contract import TAG, Disk, GuestSection, Interface, Shape
from corten.vm.qemu import Inputs, Qemu, largest
from corten.vm.template import Template


def start(section: GuestSection, descriptors: Sequence[int], join: Callable[[], None], share: int = -1) -> Qemu:
    """The machine of `section`, whose descriptors these are; see the contract. `join` is called in QEMU's process
    before it gives up its rights, for control groups. `share`: a connection to what serves the guest directories of
    this machine, which it finds by `TAG`. Nothing is left when it raises."""
    first, second, *others = descriptors
    disks = [Disk(serial, fd, read_only) for (serial, read_only), fd in zip(section.disks, others, strict=False)]
    taps = others[len(disks) :]
    interfaces = [Interface(name, tap, mac) for (name, mac), tap in zip(section.interfaces, taps, strict=True)]
    if section.cloned:
        machine = template.clone(section.shape, Template(first, second), join, disks, interfaces, share >= 0)
    elif share >= 0:
        machine = _booted_shared(section.shape, first, second, join, largest(disks, section.shape))
    else:
        machine = Qemu(section.shape, Inputs(kernel=first, initramfs=second), join, largest(disks))
    try:
        if share >= 0:
            machine.plug_share(TAG, share)
        if not section.cloned:
            for disk in disks:
                machine.plug_disk(disk)
            for interface in interfaces:
                machine.plug_interface(interface)
        machine.set_memory(section.memory)
        machine.set_cpus(section.cpus)
    except BaseException:
        machine.close()
        raise
    machine.hurry()
    return machine


def _booted_shared(shape: Shape, kernel: int, initramfs: int, join: Callable[[], None], most: int) -> Qemu:
    memory = memfd.empty("guest memory", shape.memory)
    try:
        return Qemu(shape, Inputs(kernel, initramfs, memory, shared=True), join, most)
    finally:
        os.close(memory)
