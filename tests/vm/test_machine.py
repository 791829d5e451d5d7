"""What is done with a running machine, in clones of one template."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import Conflict, Invalid, NotFound, StartFailed
from corten.kernel import memfd
from corten.vm import template
from corten.vm.contract import PORTS, Disk, GuestSection, Interface
from corten.vm.qemu import Inputs, Qemu
from corten.vm.qmp import Event
from corten.vm.start import start
from corten.vm.template import Template
from e2e_parts.patience import PATIENCE
from vm import machines
from vm.machines import Evaluating

MIB = 1 << 20
_ALL = "((open(f'/sys/block/{b}/serial').read(), b) for b in os.listdir('/sys/block') if b.startswith('vd'))"
_SERIALS = f"{{s: b for s, b in {_ALL} if not s.startswith('empty')}}"  # without those that a template has
_TOTAL = "int(open('/proc/meminfo').read().split()[1]) << 10"


@pytest.fixture
def disk() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.truncate(8 * MIB)
        file.write(b"of the host")
        file.flush()
        yield file.fileno()


@pytest.fixture
def tap() -> Iterator[int]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"corten-vm%d", 0x0002 | 0x1000 | 0x4000))  # TUNSETIFF
    yield fd
    os.close(fd)


def _ended(machine: Qemu) -> bool:
    return bool(select.select([machine.ended], [], [], PATIENCE)[0])


# ------------------------------------------------------------------------------------------------------------- disks


def test_a_disk_appears_under_its_serial(guest: Evaluating, disk: int) -> None:
    guest.machine.plug_disk(Disk("own", disk, False))
    name = guest.until(f"{_SERIALS}.get('own')")
    assert guest.ask(f"open('/dev/{name}', 'rb').read(11).decode()") == "of the host"
    assert guest.ask(f"int(open('/sys/block/{name}/size').read()) * 512") == 8 * MIB
    guest.ask(f"(fd := os.open('/dev/{name}', os.O_RDWR), os.pwrite(fd, b'of the guest', 0), os.fsync(fd)) and 1")
    assert os.pread(disk, 12, 0) == b"of the guest"


def test_a_read_only_disk_cannot_be_written_to(guest: Evaluating, disk: int) -> None:
    reading = os.open(f"/proc/self/fd/{disk}", os.O_RDONLY)
    guest.machine.plug_disk(Disk("layers", reading, True))
    os.close(reading)
    name = guest.until(f"{_SERIALS}.get('layers')")
    assert guest.ask(f"open('/sys/block/{name}/ro').read()") == "1\n"
    with pytest.raises(RuntimeError, match="PermissionError"):
        guest.ask(f"(fd := os.open('/dev/{name}', os.O_WRONLY), os.write(fd, bytes(512)), os.fsync(fd)) and 1")
    assert os.pread(disk, 11, 0) == b"of the host"


def test_a_serial_is_of_few_characters_and_taken_once(guest: Evaluating, disk: int) -> None:
    for serial in ("", "a,b", "a=b", "-a b", "a\n", "a" * 21, "ä", '"', "../x"):
        with pytest.raises(Invalid, match="is no serial of a disk"):
            guest.machine.plug_disk(Disk(serial, disk, False))
    guest.machine.plug_disk(Disk("own", disk, False))
    with pytest.raises(Conflict, match="there is disk own already"):
        guest.machine.plug_disk(Disk("own", disk, False))


def test_all_ports_can_be_used(guest: Evaluating, disk: int) -> None:
    reading = os.open(f"/proc/self/fd/{disk}", os.O_RDONLY)
    for index in range(PORTS):
        guest.machine.plug_disk(Disk(f"disk-{index}", reading, True))
    with pytest.raises(Conflict, match=f"no port is free for disk more: a guest has {PORTS}"):
        guest.machine.plug_disk(Disk("more", reading, True))
    os.close(reading)
    assert guest.until(f"len({_SERIALS}) == {PORTS}")


# -------------------------------------------------------------------------------------------------------- interfaces


def test_an_interface_comes_and_goes_and_comes_again(guest: Evaluating, tap: int) -> None:
    for last in ("02", "03"):
        guest.machine.plug_interface(Interface("web", tap, f"02:42:ac:11:00:{last}"))
        assert guest.until(
            "[open(f'/sys/class/net/{n}/address').read() for n in os.listdir('/sys/class/net') if n != 'lo']"
        ) == [f"02:42:ac:11:00:{last}\n"]
        with pytest.raises(Conflict, match="there is interface web already"):
            guest.machine.plug_interface(Interface("web", tap, "02:42:ac:11:00:04"))
        guest.machine.unplug_interface("web")
        assert guest.until("os.listdir('/sys/class/net') == ['lo']")
    with pytest.raises(NotFound, match="there is no interface web"):
        guest.machine.unplug_interface("web")


def test_a_port_is_free_again_when_the_guest_has_noticed(guest: Evaluating, tap: int) -> None:
    for _ in range(PORTS + 1):
        guest.machine.plug_interface(Interface("web", tap, "02:42:ac:11:00:02"))
        guest.machine.unplug_interface("web")
        assert guest.until("os.listdir('/sys/class/net') == ['lo']")
        while "" in guest.machine._ports.values():
            select.select([guest.machine.attention], [], [], PATIENCE)
            guest.machine.attend()


def test_a_mac_is_one(guest: Evaluating, tap: int) -> None:
    for mac in (
        "",
        "02:42:ac:11:00",
        "02:42:ac:11:00:02,romfile=/etc/passwd",
        "02-42-ac-11-00-02",
        "02:42:ac:11:00:02\n",
    ):
        with pytest.raises(Invalid, match="is no MAC address"):
            guest.machine.plug_interface(Interface("web", tap, mac))


# ------------------------------------------------------------------------------------------------ memory, processors


def test_memory_grows_and_shrinks(guest: Evaluating) -> None:
    before = guest.ask(_TOTAL)
    guest.machine.set_memory(768 * MIB)
    assert guest.until(f"({_TOTAL}) > {before + 400 * MIB} and ({_TOTAL})") < 768 * MIB
    guest.machine.set_memory(0)
    assert guest.until(f"({_TOTAL}) < {before + 150 * MIB}")
    with pytest.raises(Invalid, match="the guest can have at most 2147483648 bytes of memory"):
        guest.machine.set_memory(2048 * MIB + 1)


def test_processors_of_the_boot_stay(saved: Template) -> None:
    """Without a guest: what QEMU is asked."""
    machine = Qemu(machines.shape()._replace(cpus=2), Inputs(memory=saved.memory), lambda: None)
    try:
        for count, expected in ((1, 2), (2, 2), (3, 3)):
            machine.set_cpus(count)
            assert len(machine.ask("query-cpus-fast")) == expected
    finally:
        machine.close()


def test_processors_come_and_go(guest: Evaluating) -> None:
    guest.machine.set_cpus(2)
    there = "/sys/devices/system/cpu/cpu1/online"
    assert guest.until(f"os.path.exists('{there}') and open('{there}', 'w').write('1') and os.cpu_count()") == 2
    guest.machine.set_cpus(2)
    guest.machine.set_cpus(1)
    assert guest.until("os.cpu_count() == 1")
    for count in (0, 4):
        with pytest.raises(Invalid, match=f"the guest can have 1 to 3 processors, not {count}"):
            guest.machine.set_cpus(count)


# --------------------------------------------------------------------------------------------------------------- life


def _ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_an_event_that_comes_with_an_answer_is_attended_to(guest: Evaluating) -> None:
    """A disk that is full while something is asked of the machine: it is tried again."""
    machine = guest.machine
    machine.attend()
    assert not wants_attention(machine)
    machine.pause()  # STOP comes before the answer
    assert wants_attention(machine)
    machine.attend()
    assert not wants_attention(machine) and not machine.stalled
    machine._monitor._events.append(Event("BLOCK_IO_ERROR", {"action": "stop"}))
    machine.ask("query-status")
    assert wants_attention(machine)
    machine.attend()
    assert machine.stalled
    machine.resume()
    assert guest.ask("6 * 7") == 42


def wants_attention(machine: Qemu) -> bool:
    return bool(select.select([machine.attention], [], [], 0)[0])


def test_pausing_stops_a_busy_guest(guest: Evaluating) -> None:
    guest.send("sum(range(3 * 10**7))")
    guest.machine.pause()
    guest.machine.pause()
    before = _ticks(guest.machine.pid)
    assert not select.select([guest.machine.agent], [], [], 0.5)[0]
    assert _ticks(guest.machine.pid) - before <= 5
    guest.machine.resume()
    guest.machine.resume()
    assert guest.machine.agent.recv(1) != b""


def test_a_panic_is_the_last_word(guest: Evaluating) -> None:
    guest.send("open('/proc/sysrq-trigger', 'w').write('c')")
    assert _ended(guest.machine)
    assert guest.machine.last_words().endswith("Kernel panic - not syncing: sysrq triggered crash")


def test_the_end_of_process_1_is_an_end(guest: Evaluating) -> None:
    guest.send("os._exit(3)")
    assert _ended(guest.machine)
    assert "Attempted to kill init! exitcode=0x00000300" in guest.machine.last_words()


def test_a_console_that_never_ends_stops_nothing(guest: Evaluating) -> None:
    said = guest.ask("os.write(os.open('/dev/ttyS0', os.O_WRONLY | os.O_NOCTTY), b'last\\x1b[31m one\\n')")
    assert said == 14
    while guest.machine.last_words() != "last one":
        assert select.select([guest.machine.attention], [], [], PATIENCE)[0]
    guest.ask("[os.write(os.open('/dev/ttyS0', os.O_WRONLY | os.O_NOCTTY), b'x' * 1000) for n in range(4)] and 1")
    assert len(guest.machine.last_words()) <= 200
    assert guest.ask("1") == 1


def test_a_killed_machine_has_ended(guest: Evaluating) -> None:
    guest.machine.kill()
    guest.machine.kill()
    assert _ended(guest.machine)
    with pytest.raises(StartFailed, match="QEMU has ended"):
        guest.machine.pause()
    guest.machine.close()
    guest.machine.close()


def test_nothing_is_left(saved: Template) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    before = descriptors()
    with machines.cloned(saved) as guest:
        pid = guest.machine.pid
    assert descriptors() == before
    assert not os.path.exists(f"/proc/{pid}")


# ---------------------------------------------------------------------------------------------------------- templates


def test_a_template_cannot_be_written_to(saved: Template) -> None:
    for fd in saved:
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)


def test_what_a_clone_writes_is_its_own(saved: Template) -> None:
    with machines.cloned(saved) as one, machines.cloned(saved) as other:
        assert one.ask("open('/run/mine', 'w').write('1')") == 1
        assert one.ask("os.path.exists('/run/mine')") is True
        assert other.ask("os.path.exists('/run/mine')") is False


def test_a_template_has_few_pages(saved: Template) -> None:
    assert os.fstat(saved.memory).st_size == 256 * MIB
    assert os.fstat(saved.memory).st_blocks * 512 < 160 * MIB
    assert os.fstat(saved.state).st_size < 2 * MIB


def test_a_state_that_is_none(saved: Template) -> None:
    wrong = memfd.holding("wrong", [b"no state" * 1000])
    with pytest.raises(StartFailed, match="load of migration failed"):
        template.clone(machines.shape(), Template(saved.memory, wrong), lambda: None)
    os.close(wrong)


def test_a_guest_that_does_not_say_hello() -> None:
    if lacking := machines.missing():
        pytest.skip(lacking)
    with machines.sources() as (image, _), tempfile.TemporaryFile() as empty:
        empty.write(b"no archive")
        empty.flush()
        os.fchmod(empty.fileno(), 0o644)
        with pytest.raises(StartFailed, match=r"the guest has ended: .*Kernel panic - not syncing: .*VFS"):
            template.make(machines.shape(), image, empty.fileno(), lambda: None)


# -------------------------------------------------------------------------------------------------------------- start


def test_a_section_is_a_machine_with_all_that_it_names(saved: Template, disk: int, tap: int) -> None:
    section = GuestSection(
        machines.shape(), True, 512 * MIB, 2, (("own", False),), (("web", "02:42:ac:11:00:02"),)
    )  # fmt: skip
    machine = start(section, [saved.memory, saved.state, disk, tap], lambda: None)
    try:
        guest = Evaluating(machine)
        assert sorted(guest.ask(f"[s for s, _ in {_ALL}]")) == ["empty17", "own"]  # in the places of the template's
        name = guest.ask(_SERIALS)["own"]
        opened = f"(fd := os.open('/dev/{name}', os.O_RDWR))"
        assert guest.ask(f"({opened}, os.read(fd, 11).decode())[1]") == "of the host"
        with pytest.raises(RuntimeError, match="OSError"):  # the guest thinks that it is larger, the host does not
            guest.ask(f"({opened}, os.pwrite(fd, b'beyond', {64 * MIB}), os.fsync(fd)) and 1")
        assert os.fstat(disk).st_size == 8 * MIB
        limits = Path(f"/proc/{machine.pid}/limits").read_text()
        assert re.search(rf"^Max file size +{8 * MIB} +{8 * MIB} ", limits, re.M), "also of one that was taken over"
        assert guest.ask("os.listdir('/sys/class/net')") == ["lo"]
        guest.ask("take_up()")
        assert guest.until("len(os.listdir('/sys/class/net')) == 2")
        assert guest.until(f"({_TOTAL}) > {350 * MIB}")
        assert guest.until("os.path.exists('/sys/devices/system/cpu/cpu1')")
    finally:
        machine.close()


def test_a_section_that_cannot_be_leaves_nothing(saved: Template, disk: int) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    section = GuestSection(machines.shape(), True, 1 << 50, 1, (("own", False),))
    with pytest.raises(Invalid):
        start(section, [saved.memory, saved.state, disk], lambda: None)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_section_with_one_serial_twice(saved: Template, disk: int) -> None:
    section = GuestSection(machines.shape(), True, 512 * MIB, 1, (("own", False), ("own", False)))
    with pytest.raises(Conflict, match="there is disk own already"):
        start(section, [saved.memory, saved.state, disk, disk], lambda: None)


def test_a_program_that_is_none(saved: Template, tmp_path: Path) -> None:
    shape = machines.shape()._replace(qemu=str(tmp_path / "qemu"))
    with pytest.raises(StartFailed, match=r"cannot run .*qemu: .*No such file"):
        Qemu(shape, Inputs(memory=saved.memory), lambda: None)


def test_what_join_raises_is_the_reason(saved: Template) -> None:
    def join() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StartFailed, match="No space left on device"):
        Qemu(machines.shape(), Inputs(memory=saved.memory), join)
