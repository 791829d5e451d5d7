"""A machine, as what drives a guest sees it: the seam between QEMU and the instance that uses one.

    machine = start(section, descriptors, join)    # running; its guest's agent says hello on `machine.agent`
    machine.plug_disk(Disk("root", fd, True))      # appears in the guest as a block device with this serial
    ...                                            # machine.attention is readable: machine.attend()
    ...                                            # machine.ended is readable: the machine is gone
    machine.last_words()                           # why, where its kernel has said it
    machine.close()                                # nothing of it is left

`section` says what machine it is to be and is made by the daemon; it travels as JSON in a Create request, and the
descriptors beside it in the order of `GuestSection`. They stay the caller's. A machine is a clone where the section has
a template: its guest was booted and its agent has said hello before, to the one who made the template. So the first
frame is always the host's: `configure`, which a booted agent takes as well.

Idempotent are `pause`, `resume`, `set_memory`, `set_cpus`, `kill` and `close`. Everything that changes the machine
waits for QEMU's answer, a few milliseconds, and at most `TIMEOUT` seconds, `PATIENCE` once it has been started: what
waits behind that is asked by a daemon, which waits for ten. What the guest makes of it (a device that
appears, memory that it gives back) is seen by the agent alone.

Errors: StartFailed when there is no machine, with QEMU's or the kernel's words; Failed when QEMU refuses or does not
answer; Conflict for a name or serial that is taken, or when no port is left; NotFound for a name that is not there;
Invalid for what the shape does not allow; OSError.
"""

from __future__ import annotations

import socket
from typing import NamedTuple, Protocol

RUNTIME = "vm"  # what requests and HostConfig.Runtime call it
TIMEOUT = 60.0  # seconds; a machine may be emulated on a busy host
PATIENCE = 8.0  # the same, of a machine that runs
TAG = "corten"  # by which a guest mounts directories of the host
NOWHERE = "02:00:00:00:00:01"  # the address of a template's interface; the first one of a clone has it until it is set
PORTS = 16  # devices that can be plugged in beside each other: disks, interfaces, memory


class Shape(NamedTuple):
    """What a template and all its clones have in common, beside kernel and initramfs."""

    qemu: str  # the program, an absolute path
    accelerator: str  # "kvm" or "tcg"
    memory: int  # bytes at the boot
    max_memory: int  # bytes that `set_memory` can reach; `memory` when there is no more
    max_cpus: int
    cpus: int = 1  # at the boot
    plugged: int = 0  # bytes beside `memory` that a template has, for guests that are to have them anyway
    architecture: str = "x86_64"  # see `vm.architectures`


class Disk(NamedTuple):
    """`serial`: how the guest finds it (/sys/block/*/serial), at most 20 characters of A-Z a-z 0-9 - and _. `fd` stays
    the caller's, and is open for reading alone when the disk is `read_only`."""

    serial: str
    fd: int
    read_only: bool


class Interface(NamedTuple):
    """`name`: the engine's, at most 15 characters, as `attach` of an instance has it. `tap` stays the caller's."""

    name: str
    tap: int
    mac: str  # as 02:42:ac:11:00:02


class GuestSection(NamedTuple):
    """Its descriptors: kernel and initramfs, or with `cloned` memory and state of a template; then one for each of
    `disks`, and one for each of `interfaces`."""

    shape: Shape
    cloned: bool
    memory: int  # bytes that the guest is to have in the end
    cpus: int
    disks: tuple[tuple[str, bool], ...] = ()  # serial, read only
    interfaces: tuple[tuple[str, str], ...] = ()  # name, MAC


class Machine(Protocol):
    """See the module."""

    @property
    def pid(self) -> int:
        """QEMU's, in the host's numbering."""

    @property
    def ended(self) -> int:
        """A pidfd: readable when QEMU has exited, whyever. Reaped by `close`."""

    @property
    def agent(self) -> socket.socket:
        """The byte stream to the guest's port "corten.agent"; blocking until its user changes that."""

    @property
    def attention(self) -> int:
        """A descriptor that is readable when `attend` has something to do. Level-triggered."""

    def attend(self) -> None:
        """Take in what the guest's console and QEMU have said, so that neither has to wait. Never blocks."""

    @property
    def stalled(self) -> bool:
        """Stopped by QEMU, as the host has no room for what the guest writes. `attend` finds it out, `resume` has it
        tried again: nothing is lost, and the guest notices nothing."""

    def plug_disk(self, disk: Disk) -> None: ...

    def plug_interface(self, interface: Interface) -> None: ...

    def plug_share(self, tag: str, server: int) -> None:
        """Directories of the host, by a connection to what serves them (`vm.virtiofs`), which stays the caller's. The
        guest mounts them by `tag`. Conflict when its memory is its own."""

    def unplug_interface(self, name: str) -> None:
        """Nothing passes any more; the guest notices in its own time."""

    def pause(self) -> None:
        """No instruction of the guest is carried out when it returns."""

    def resume(self) -> None: ...

    def go_on(self) -> None:
        """As `resume`, for a machine whose `pause` has failed: it comes behind that, and is not waited for."""

    def set_memory(self, size: int) -> None:
        """Bytes that the guest is to have: never fewer than the shape's. What it does not give back it keeps."""

    def set_cpus(self, count: int) -> None:
        """More, up to the shape's, or fewer, but never fewer than at the boot. The agent takes a new one into use."""

    def last_words(self) -> str:
        """The last line of the console, or of what QEMU wrote; empty when there is none. Printable, at most 200
        characters. Also after the end."""

    def kill(self) -> None:
        """`ended` becomes readable."""

    def close(self) -> None:
        """Kills it where it runs, reaps it, and closes all that is the machine's."""
