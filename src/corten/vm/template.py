"""A guest that has booted, kept for others to begin from.

    template = make(shape, kernel, initramfs, join)     # boots, some seconds; two files in memory
    machine = clone(shape, template, join)              # a tenth of a second, as often as wanted

Kept are the guest's memory, as a file in memory that is sealed: nothing can write to it, clones map it for themselves
and have pages of their own where they write; and the state of the machine's devices, some hundred KiB (QEMU's migration
stream, without the memory: x-ignore-shared). Both hold for the same QEMU, the same command line and the same CPU only,
so it is kept under a name made of these.

Nothing of a user has been in the guest by then: its agent has said hello, and no more.

The memory that a guest without a limit has beside the boot's (`Shape.plugged`) is in it already: taking it into use is
an eighth of an emulated start. Its pages are not in that file, and go back to the host when the guest frees them; what
the boot has in them is part of the state.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from corten.errors import StartFailed
from corten.kernel import memfd
from corten.vm.contract import TIMEOUT, Disk, Interface, Shape
from corten.vm.machine import DISKS, MORE, NETWORK, disk_ports
from corten.vm.qemu import Inputs, Qemu, largest
from corten.vm.stream import without_zeros

_HEAD = struct.Struct(">BII")  # kind, stream, length
_MAX_HELLO = 4096
_PAGE = 4096
_ZEROS = bytes(_PAGE)
_PIECE = 4 << 20
_LONGEST = 230.0  # seconds for a boot at most: a daemon waits for 300
_GOES_ON = 1.0  # seconds of a processor in `TIMEOUT`: a machine that waits for something uses less
_LOOK, _LOOKS = 0.3, 20  # seconds; and how often


class Template(NamedTuple):
    """Sealed files in memory; the caller's to close."""

    memory: int
    state: int


def make(shape: Shape, kernel: int, initramfs: int, join: Callable[[], None]) -> Template:
    """Boot a guest and keep it. StartFailed with the guest's last words, Failed, OSError."""
    memory = memfd.empty("guest memory", shape.memory)
    state = memfd.empty("guest state")
    try:
        machine = Qemu(shape, Inputs(kernel, initramfs, memory), join)
        try:
            await_hello(machine)
            if shape.plugged:
                machine.set_memory(shape.memory + shape.plugged)
                machine.await_memory()
                _await_rest(machine)
            _save(machine, state)
        finally:
            machine.close()
        _drop_zeros(memory)
        for fd in (memory, state):
            memfd.seal(fd)
    except BaseException:
        os.close(memory)
        os.close(state)
        raise
    return Template(memory, state)


def clone(
    shape: Shape,
    template: Template,
    join: Callable[[], None],
    disks: Sequence[Disk] = (),
    interfaces: Sequence[Interface] = (),
    shared: bool = False,
) -> Qemu:
    """A machine that goes on where the template was saved. `shared`: its memory is a copy that another process may see
    too, as sharing directories takes. StartFailed, Failed, OSError.

    The first of `disks` and of `interfaces` take the places of the template's: the guest has seen already that there is
    something."""
    memory = _copy(template.memory) if shared else os.dup(template.memory)
    try:
        machine = Qemu(shape, Inputs(memory=memory, shared=shared), join, largest(disks, shape if shared else None))
    finally:
        os.close(memory)
    try:
        state = os.open(f"/proc/self/fd/{template.state}", os.O_RDONLY | os.O_CLOEXEC)  # with an offset of its own
        try:
            _allow(machine)
            machine.ask("getfd", {"fdname": "state"}, (state,))
        finally:
            os.close(state)
        for index, disk in zip_longest(disk_ports(), disks[:DISKS]):
            if disk:
                machine.plug_disk(disk, index)
            else:
                machine.plug_empty_disk(index)
        if interfaces:
            machine.plug_interface(interfaces[0], NETWORK)
        else:
            machine.plug_empty_interface(NETWORK)
        machine.ask("migrate-incoming", {"uri": "fd:state"})
        _await_migration(machine, "go on with")
        machine.resume()  # it was saved while it stood still
        for disk in disks[DISKS:]:
            machine.plug_disk(disk)
        for interface in interfaces[1:]:
            machine.plug_interface(interface)
    except BaseException:
        machine.close()
        raise
    return machine


def await_hello(machine: Qemu) -> None:
    """The agent's first frame. StartFailed when it does not come in time, or is something else. A host with much else
    to do gives a machine little of its time: one that goes on has used `TIMEOUT` seconds of that when it is late."""
    machine.agent.settimeout(TIMEOUT)
    try:
        kind, stream, length = _HEAD.unpack(_exactly(machine, _HEAD.size))
        if (kind, stream) != (0, 0) or length > _MAX_HELLO:
            raise StartFailed("the guest has not said hello but something else")
        hello = json.loads(_exactly(machine, length))
    except (TimeoutError, ValueError) as error:
        raise StartFailed(f"the guest has not said hello: {machine.last_words() or error}") from error
    finally:
        machine.agent.settimeout(None)
    if not isinstance(hello, dict) or hello.get("event") != "hello":
        raise StartFailed("the guest has not said hello but something else")


def _await_rest(machine: Qemu) -> None:
    """Until it has nothing to do, or some seconds: what it does afterwards, each clone does."""
    for _ in range(_LOOKS):
        before = _spent(machine)
        time.sleep(_LOOK)
        if _spent(machine) - before < _LOOK / 10:
            return


def _spent(machine: Qemu) -> float:
    """Seconds of processors (clock_getcpuclockid(3))."""
    return time.clock_gettime(~machine.pid << 3 | 2)


def _exactly(machine: Qemu, length: int) -> bytes:
    data, deadline, spent = b"", time.monotonic() + _LONGEST, 0.0
    while len(data) < length:
        try:
            more = machine.agent.recv(length - len(data))
        except TimeoutError:
            before, spent = spent, _spent(machine)
            if spent - before < _GOES_ON or spent > TIMEOUT or time.monotonic() > deadline:
                raise
            continue
        if not more:
            raise StartFailed(f"the guest has ended: {machine.last_words() or 'without a word'}")
        data += more
    return data


def _save(machine: Qemu, state: int) -> None:
    machine.pause()
    _allow(machine)
    machine.ask("getfd", {"fdname": "state"}, (state,))
    machine.ask("migrate", {"uri": "fd:state"})
    _await_migration(machine, "save")
    whole = os.pread(state, os.fstat(state).st_size, 0)
    less = without_zeros(whole, MORE)  # each costs a clone a tenth of a microsecond, and there are 200,000
    if os.pwrite(state, less, 0) == len(less):
        os.ftruncate(state, len(less))


def _allow(machine: Qemu) -> None:
    wanted = [{"capability": name, "state": True} for name in ("x-ignore-shared", "events")]
    machine.ask("migrate-set-capabilities", {"capabilities": wanted})


def _await_migration(machine: Qemu, what: str) -> None:
    while (status := machine.wait_for("MIGRATION").get("status")) != "completed":
        if status in ("failed", "cancelled"):
            raise StartFailed(f"QEMU cannot {what} the guest: {machine.last_words() or status}")


def _copy(memory: int) -> int:
    """A file in memory with the same content, holes left out; its size is settled."""
    size = os.fstat(memory).st_size
    made = memfd.empty("guest memory", size)
    try:
        memfd.seal_size(made)
        offset = 0
        while (offset := _seek(memory, offset, os.SEEK_DATA, size)) < size:
            end = _seek(memory, offset, os.SEEK_HOLE, size)
            os.lseek(made, offset, os.SEEK_SET)
            while offset < end:
                offset += os.sendfile(made, memory, offset, end - offset)
    except BaseException:
        os.close(made)
        raise
    return made


def _seek(fd: int, offset: int, whence: int, size: int) -> int:
    try:
        return os.lseek(fd, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole follows
            return size
        raise


def _drop_zeros(memory: int) -> None:
    """A page of zeros needs none: what the boot has used and given back is three quarters of it."""
    size = os.fstat(memory).st_size
    for start in range(0, size, _PIECE):
        piece = os.pread(memory, _PIECE, start)
        for offset, length in _zeros(piece):
            memfd.punch_hole(memory, start + offset, length)


def _zeros(piece: bytes) -> Iterator[tuple[int, int]]:
    """(offset, length) of the runs of whole pages that are zero."""
    begin = None
    for offset in range(0, len(piece), _PAGE):
        if piece.startswith(_ZEROS, offset):
            begin = offset if begin is None else begin
        elif begin is not None:
            yield begin, offset - begin
            begin = None
    if begin is not None:
        yield begin, len(piece) - begin
