"""One running QEMU: `vm.contract.Machine`.

    machine = begin(shape, Descriptors for a boot or a clone)

Devices are plugged into ports of the machine (`vm.machine.port`), one each. Their descriptors are given to QEMU beside
the request that needs them; no copy stays here.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from corten.errors import Conflict, Failed, Invalid, NotFound, StartFailed
from corten.kernel import memfd
from corten.kernel import process as p
from corten.vm import confine, machine
from corten.vm.contract import PATIENCE, PORTS, TIMEOUT, Disk, Interface, Shape
from corten.vm.machine import Descriptors, device, line, node, port
from corten.vm.qmp import Monitor

Json = dict[str, Any]

_SERIAL = re.compile(r"[A-Za-z0-9_-]{1,20}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_LAST = 5.0  # seconds from the monitor's end to QEMU's
_PAUSE = 0.1  # seconds between looks at what has no event
_KEPT = 16384  # bytes of what console and QEMU have said last
_ESCAPE = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]")  # of a terminal
_PANIC = "Kernel panic - not syncing"  # what it is followed by says less
_NOISE = ("warning:", "ram_block_discard_range", "] reboot: ")


class Inputs(NamedTuple):
    """Descriptors of a boot (kernel, initramfs), of one to be saved (memory too), or of a clone (memory). They stay the
    caller's. `shared`: another process is to see all memory of the guest, and `memory` is this guest's alone."""

    kernel: int | None = None
    initramfs: int | None = None
    memory: int | None = None
    shared: bool = False


class Qemu:
    """See the contract."""

    def __init__(self, shape: Shape, inputs: Inputs, join: Callable[[], None], largest: int = -1) -> None:
        """`largest`: bytes that a file of its has at most, which is the largest of its disks; -1: of any size."""
        self._shape, self._shared = shape, inputs.shared
        self._ports: dict[int, str] = {}  # what is plugged in, by its port
        self._more_memory = shape.plugged if inputs.kernel is None else 0  # bytes
        self._processors: list[str] = []  # devices beside those that the machine has from the beginning
        self._said, self._errors, self._fault = b"", b"", ""
        self.stalled = False
        with ExitStack() as undo, ExitStack() as theirs:
            monitor, its_monitor = _sockets(undo, theirs)
            self.agent, its_agent = _sockets(undo, theirs)
            self._console, console = _pipe(undo, theirs)
            self._errors_read, errors = _pipe(undo, theirs)
            self._monitor = Monitor(monitor, TIMEOUT)
            self._poll = undo.enter_context(select.epoll())
            self._came = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable: events came with an answer
            undo.callback(os.close, self._came)
            for source in (monitor.fileno(), self._came, self._console, self._errors_read):
                self._poll.register(source, select.EPOLLIN)
            kernel, initramfs = (openable(theirs, fd) for fd in (inputs.kernel, inputs.initramfs))
            own = (its_monitor.fileno(), its_agent.fileno(), console)
            command = line(shape, Descriptors(*own, inputs.memory, kernel, initramfs), inputs.shared)
            self.pid, self.ended = confine.execute(
                command.arguments, command.descriptors, errors, join, shape.accelerator == "kvm", largest
            )
            self._open = undo.pop_all()

    def hurry(self) -> None:
        """It is started: from now on nothing takes long."""
        self._monitor.timeout = PATIENCE

    @property
    def attention(self) -> int:
        return self._poll.fileno()

    def attend(self) -> None:
        for fd, _ in self._poll.poll(0):
            if fd == self._came:
                os.eventfd_read(fd)
            if fd in (self._came, self._monitor.fileno()):
                self._attend_monitor()
            elif fd == self._console:
                self._said = self._take(fd, self._said)
            else:
                self._errors = self._take(fd, self._errors)

    def _attend_monitor(self) -> None:
        if self._fault:
            return
        try:
            events = self._monitor.events()
        except Failed as failed:  # the end is seen by the pidfd; a QEMU that breaks the rules is to have one
            self._poll.unregister(self._monitor.fileno())
            self._fault = str(failed)
            self.kill()
            return
        for event in events:
            if event.name == "DEVICE_DELETED":
                self._forget(event.data.get("device"))
            elif event.name == "BLOCK_IO_ERROR" and event.data.get("action") == "stop":
                self.stalled = True  # by default for ENOSPC alone; others are the guest's (blockdev, werror)

    def _forget(self, gone: object) -> None:
        """A port is free again when the guest has given up what was in it."""
        for index in [index for index in self._ports if gone == device(index)]:
            del self._ports[index]

    def _take(self, fd: int, kept: bytes) -> bytes:
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return kept
        if not data:
            self._poll.unregister(fd)
        return (kept + data)[-_KEPT:]

    # --------------------------------------------------------------------------------------------------- devices

    def plug_disk(self, disk: Disk, index: int = -1) -> None:
        """`index`: of a port that a template has a disk in."""
        if not _SERIAL.fullmatch(disk.serial):
            raise Invalid(f"{disk.serial!r} is no serial of a disk: 1 to 20 letters, digits, - and _")
        use = f"disk {disk.serial}"
        self._once(use)
        index = self._free_port(use) if index < 0 else index
        added = self._ask("add-fd", {}, [disk.fd])
        driver = "host_device" if stat.S_ISBLK(os.fstat(disk.fd).st_mode) else "file"
        file = {"driver": driver, "filename": f"/dev/fdset/{_number(added, 'fdset-id')}", "locking": "off",
                "discard": "ignore" if disk.read_only else "unmap"}  # fmt: skip
        self._ask("blockdev-add", {"driver": "raw", "node-name": node(index), "read-only": disk.read_only, "file": file,
                                   "discard": "ignore" if disk.read_only else "unmap"})  # fmt: skip
        self._ask("device_add", machine.disk(index, disk.serial))
        self._ports[index] = use

    def plug_empty_disk(self, index: int) -> None:
        """What a clone needs where its template has a disk and it has none."""
        self._ask("blockdev-add", machine.empty(index))
        self._ask("device_add", machine.disk(index, f"empty{index}"))

    def plug_interface(self, interface: Interface, index: int = -1) -> None:
        """`index`: of the port that a template has an interface in."""
        if not _MAC.fullmatch(interface.mac):
            raise Invalid(f"{interface.mac!r} is no MAC address")
        use = f"interface {interface.name}"
        self._once(use)
        index = self._free_port(use) if index < 0 else index
        network = f"net{index}"
        self._ask("getfd", {"fdname": network}, [interface.tap])
        self._ask("netdev_add", {"type": "tap", "id": network, "fd": network, "vhost": False})
        self._ask("device_add", machine.interface(index, interface.mac, network))
        self._ports[index] = use

    def plug_empty_interface(self, index: int) -> None:
        """As `plug_empty_disk`."""
        self._ask("device_add", machine.interface(index))

    def unplug_interface(self, name: str) -> None:
        for index, use in self._ports.items():
            if use == f"interface {name}":
                self._ask("device_del", {"id": device(index)})
                self._ask("netdev_del", {"id": f"net{index}"})
                self._ports[index] = ""  # in use until the guest has noticed
                return
        raise NotFound(f"there is no interface {name}")

    def plug_share(self, tag: str, server: int) -> None:
        if not self._shared:
            raise Conflict("directories are shared only with a guest whose memory is")
        index = self._free_port(f"share {tag}")
        name = f"share{index}"
        self._ask("getfd", {"fdname": name}, [server])
        address = {"type": "fd", "data": {"str": name}}
        backend = {"type": "socket", "data": {"addr": address, "server": False}}
        self._ask("chardev-add", {"id": name, "backend": backend})
        self._plug(index, {"driver": "vhost-user-fs-pci", "chardev": name, "tag": tag})
        self._ports[index] = f"share {tag}"

    def _once(self, use: str) -> None:
        if use in self._ports.values():
            raise Conflict(f"there is {use} already")

    def _free_port(self, use: str) -> int:
        self.attend()
        self._once(use)
        for index in range(PORTS):
            if index not in self._ports:
                return index
        raise Conflict(f"no port is free for {use}: a guest has {PORTS}")

    def _plug(self, index: int, properties: Json) -> None:
        self._ask("device_add", {"id": device(index), "bus": port(index), **properties})

    # ---------------------------------------------------------------------------------------- memory, processors

    def set_memory(self, size: int) -> None:
        more, most = machine.grains(size - self._shape.memory), machine.more_memory(self._shape)
        if more > most:
            raise Invalid(f"the guest can have at most {self._shape.memory + most} bytes of memory")
        if more != self._more_memory:
            self._ask("qom-set", {"path": "/machine/peripheral/memory", "property": "requested-size", "value": more})
            self._more_memory = more

    def await_memory(self) -> None:
        """Until the guest has taken all that it was given. StartFailed when it does not."""
        deadline = time.monotonic() + TIMEOUT
        while self._ask("qom-get", {"path": "/machine/peripheral/memory", "property": "size"}) != self._more_memory:
            if time.monotonic() > deadline:
                raise StartFailed("the guest does not take its memory")
            time.sleep(_PAUSE)

    def set_cpus(self, count: int) -> None:
        if not 1 <= count <= self._shape.max_cpus:
            raise Invalid(f"the guest can have 1 to {self._shape.max_cpus} processors, not {count}")
        own = self._shape.cpus
        while self._processors and own + len(self._processors) > count:
            self._ask("device_del", {"id": self._processors.pop()})
        while own + len(self._processors) < count:
            slot = self._free_slot()
            name = f"cpu{own + len(self._processors)}"
            self._ask("device_add", {"driver": slot["type"], "id": name, **slot["props"]})
            self._processors.append(name)

    def _free_slot(self) -> Json:
        slots = self._ask("query-hotpluggable-cpus")
        free = [slot for slot in slots if isinstance(slot, dict) and "qom-path" not in slot]
        if not free:
            raise Conflict("no processor can be added until the guest has given up one")
        return min(free, key=lambda slot: json.dumps(slot["props"], sort_keys=True))

    # ------------------------------------------------------------------------------------------------------- life

    def pause(self) -> None:
        self._ask("stop")

    def resume(self) -> None:
        self.stalled = False
        self._ask("cont")

    def go_on(self) -> None:
        self._monitor.send("cont")

    def ask(self, command: str, arguments: Json | None = None, descriptors: tuple[int, ...] = ()) -> Any:
        """For what is done with a machine as a whole (`vm.template`)."""
        return self._ask(command, arguments, [*descriptors])

    def wait_for(self, event: str) -> Json:
        with self._while_it_runs():
            return self._monitor.wait(event).data

    def _ask(self, command: str, arguments: Json | None = None, descriptors: list[int] | None = None) -> Any:
        with self._while_it_runs():
            try:
                return self._monitor.ask(command, arguments, descriptors or ())
            finally:
                if self._monitor.has_events:
                    os.eventfd_write(self._came, 1)

    @contextmanager
    def _while_it_runs(self) -> Iterator[None]:
        """What fails because QEMU has ended says that, and why."""
        try:
            yield
        except Failed as failed:
            if select.select([self.ended], [], [], _LAST if self._monitor.is_closed else 0)[0]:
                raise StartFailed(f"QEMU has ended: {self.last_words() or failed}") from failed
            raise

    def last_words(self) -> str:
        self.attend()
        problems = lines(self._errors)
        said = lines(self._said)
        panics = [line for line in said if _PANIC in line]
        return (panics or problems or said or [self._fault])[-1][:200]

    def kill(self) -> None:
        try:
            signal.pidfd_send_signal(self.ended, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and is not reaped yet

    def close(self) -> None:
        if self.ended < 0:
            return
        self.kill()
        select.select([self.ended], [], [])
        self.attend()  # the last words
        self.ended, ended = -1, self.ended
        p.reap(ended)
        self._open.close()


def largest(disks: Sequence[Disk], shared: Shape | None = None) -> int:
    """Bytes that a file may have which a machine with these disks, and no others, writes to: none grows, also when
    QEMU was taken over. `shared`: its memory is a file too. -1 without a disk."""
    sizes = [os.lseek(disk.fd, 0, os.SEEK_END) for disk in disks if not disk.read_only]
    return max(*sizes, *((shared.memory, shared.max_memory) if shared else (0,))) if sizes else -1


def _sockets(ours: ExitStack, theirs: ExitStack) -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    return ours.enter_context(one), theirs.enter_context(other)


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """Neither side ever waits: what has no room is lost."""
    one, other = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    ours.callback(os.close, one)
    theirs.callback(os.close, other)
    return one, other


def lines(said: bytes) -> list[str]:
    """Those with something to say. (A clone cannot give memory back that is the template's, and QEMU reports that.)"""
    lines = _ESCAPE.sub("", said.decode(errors="replace")).splitlines()
    printable = ("".join(letter for letter in line if letter.isprintable()).strip() for line in lines)
    return [line for line in printable if line and not any(noise in line for noise in _NOISE)]


def openable(theirs: ExitStack, fd: int | None) -> int | None:
    """QEMU opens these by itself, as its own user. What that may not read (/boot of Ubuntu) is copied."""
    if fd is None or os.fstat(fd).st_mode & stat.S_IROTH:
        return fd
    with open(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
        copy = memfd.holding("guest", [file.read()])
    theirs.callback(os.close, copy)
    return copy


def _number(answer: object, key: str) -> int:
    value = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(value, int):
        raise Failed(f"QEMU has answered without {key}")
    return value
