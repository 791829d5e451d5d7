"""The contract of `Task` once more, in real machines: launcher, supervisor, QEMU, agent, program."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from typing import Any

import pytest

from contract import test_tasks
from contract.test_tasks import Supervised, over, pair, process, rest, until
from corten.errors import Conflict, Invalid, NotFound, Unsupported
from corten.kernel import netlink, rtnetlink
from corten.spec import dns
from corten.spec.mounts import Mount
from corten.supervisor.requests import Guest
from corten.tasks.contract import Bundle, ExecSpec, GuestPart, Task
from corten.vm.template import Template
from e2e_parts.patience import PATIENCE
from runtime_world import BUSYBOX
from taps import tap
from vm import agents

pytestmark = pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs Debian's busybox-static")


class InMachines(Supervised):
    def __init__(self, root: Path, template: Template) -> None:
        super().__init__(root, "corten")
        self._template, self._root = template, root
        self._descriptors: list[int] = []

    def bundle(self, *command: str, **options: Any) -> Bundle:
        """`network`: its interface, the tap's descriptor, and that of a server of names."""
        network = options.pop("network", None)
        native = super().bundle(*command, **options)
        disks = agents.disks(native.path, self._root / "tree")
        self._descriptors += disks
        guest, others = Guest(agents.section(), agents.DISKS), ()
        if network is not None:
            interface, *others = network
            section = agents.section()._replace(interfaces=((interface["name"], interface["mac"]),))
            guest = Guest(section, agents.DISKS, (interface,), True)
        part = GuestPart(guest, (*self._template, *disks, *others))
        rootfs = (Mount("overlay", "overlay", "/", agents.LAYERS),)
        return replace(native, runtime="vm", rootfs=rootfs, guest=part)

    async def close(self) -> None:
        await super().close()
        for fd in self._descriptors:
            os.close(fd)


@pytest.fixture
async def world(agents_template: Template, tmp_path: Path) -> AsyncIterator[InMachines]:
    world = InMachines(tmp_path, agents_template)
    yield world
    await world.close()


OF_THE_HOST = {  # the cases that look at numbers of processes, or into them; what holds instead is below
    "test_an_exec_has_its_own_status_and_streams",
    "test_an_exec_is_killed_alone",
    "test_what_is_seen_from_outside",
    "test_paused_nothing_goes_on",
}
_CASES = {name: test for name, test in vars(test_tasks).items() if name.startswith("test_")}
assert _CASES.keys() > OF_THE_HOST
globals().update({name: test for name, test in _CASES.items() if name not in OF_THE_HOST})


async def test_an_exec_has_its_own_status_and_streams(world: InMachines) -> None:
    task = await world.started("sleep", "1000")
    ours, stream = pair(mux=True)
    assert await task.exec(ExecSpec("e1", process("sh", "-c", "read a; echo $a; exit 7"), stdin=True), stream) == 0
    with ours:
        ours.sendall(b"text\n")
        assert (await task.wait_exec("e1")).status == 7
        assert await rest(ours) == b"\1\0\0\0\0\0\0\5text\n"
    assert await over(task) == 137


async def test_an_exec_is_killed_alone(world: InMachines) -> None:
    task = await world.started("sleep", "1000")
    await task.exec(ExecSpec("e1", process("sleep", "1000")), None)
    assert await task.exec_runs("e1") and task.execs() == {"e1": 0}
    await task.signal_exec("e1", signal.SIGKILL)
    assert (await task.wait_exec("e1")).status == 137
    assert not await task.exec_runs("e1")
    with pytest.raises(NotFound):
        await task.signal_exec("e1", signal.SIGKILL)
    assert await over(task) == 137


async def test_a_silent_guest_is_killed_by_its_machine(world: InMachines) -> None:
    """Within the ten seconds that `docker kill` waits for an end."""
    task = await world.started("sleep", "1000")
    os.kill(task.pid, signal.SIGSTOP)
    await task.signal(signal.SIGKILL)
    ending = await task.wait()
    assert ending.status == 137 and "did not end within 8s of being killed" in ending.error
    await task.delete()


async def test_processes_are_shown_with_the_guests_numbers(world: InMachines) -> None:
    task = await world.started("sh", "-c", "sleep 1000 & read x", open_stdin=True)
    await task.exec(ExecSpec("e1", process("sleep", "2000")), None)
    deadline = time.monotonic() + PATIENCE
    shown = await task.processes(["-ef"])
    while "sleep 1000" not in [row[7] for row in shown.rows]:  # it is a copy of the shell first
        assert time.monotonic() < deadline
        shown = await task.processes(["-ef"])
    assert shown.titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert {"sleep 1000", "sleep 2000"} < {row[7] for row in shown.rows} and len(shown.rows) == 3
    assert {row[0] for row in shown.rows} == {"0"}
    shown = await task.processes(["aux"])
    assert shown.titles[:2] == ["USER", "PID"] and shown.titles[-1] == "COMMAND" and len(shown.rows) == 3
    while True:
        shown = await task.processes(["-o", "pid,stat,rss,args"])
        (first,) = [row for row in shown.rows if row[3].startswith("sh -c")]
        if first[1].startswith("S"):  # it has come to its `read`
            break
        assert time.monotonic() < deadline, first
    assert int(first[2]) > 0
    with pytest.raises(Invalid, match="no column wchan"):
        await task.processes(["-o", "pid,wchan"])
    with pytest.raises(Unsupported, match="no numbers on the host"):
        await task.pids()
    assert await over(task) == 137


async def test_nothing_of_it_is_the_hosts(world: InMachines) -> None:
    task = await world.started("sleep", "1000")
    for look in (lambda: task.namespace("mount"), lambda: task.open_namespace("pid"), task.root, task.open_tree):
        with pytest.raises(Unsupported, match="its guest's"):
            look()
    with pytest.raises(Unsupported, match="its guest's"):
        await task.mount_number("/proc")
    assert await over(task) == 137


async def test_paused_nothing_goes_on_and_its_clock_is_right_again(world: InMachines) -> None:
    ours, stream = pair()
    command = ("sh", "-c", "while read a; do busybox date +%s; done")
    task = await world.started(*command, streams=[stream], open_stdin=True)
    with ours:
        ours.sendall(b"one\n")
        await until(ours, b"\n")
        counted = await task.stats()
        await task.pause()
        ours.sendall(b"two\n")
        await asyncio.sleep(4)  # which the guest has to make up for
        assert (await task.stats())["cpu"]["usage"]["total"] >= counted["cpu"]["usage"]["total"]
        with pytest.raises(BlockingIOError):
            ours.setblocking(False)
            ours.recv(1)
        with pytest.raises(Conflict, match="paused"):
            await task.exec(ExecSpec("e1", process("true")), None)
        ours.settimeout(PATIENCE)
        await task.resume()
        await until(ours, b"\n")
        before = time.time()
        ours.sendall(b"three\n")
        assert before - 3 < int(await until(ours, b"\n")) <= time.time()
    assert await over(task) == 137


async def test_killed_while_it_is_paused(world: InMachines) -> None:
    task = await world.started("sleep", "1000")
    await task.pause()
    assert await over(task) == 137


async def test_memory_is_given_and_taken_while_it_runs(world: InMachines) -> None:
    task = await world.started("sleep", "1000")

    async def total() -> int:
        return int((await said(task, "busybox", "grep", "MemTotal", "/proc/meminfo")).split()[1]) << 10

    before = await total()
    await task.update({"memory": {"limit": 512 << 20, "swap": 512 << 20}})
    async with asyncio.timeout(PATIENCE):
        while await total() < before + (256 << 20):
            pass
    assert (await task.stats())["memory"]["usage"]["limit"] == 512 << 20
    with pytest.raises(Invalid, match="was made for at most"):
        await task.update({"memory": {"limit": 64 << 30}})
    assert await over(task) == 137


async def test_processors_are_given_while_it_runs(world: InMachines) -> None:
    task = await world.started("sleep", "1000")
    assert await said(task, "busybox", "nproc") == b"1\n"
    await task.update({"cpu": {"quota": 200_000, "period": 100_000}})
    async with asyncio.timeout(PATIENCE):
        while await said(task, "busybox", "nproc") != b"2\n":
            pass
    with pytest.raises(Invalid, match="was made for at most 3 processors"):
        await task.update({"cpu": {"quota": 900_000, "period": 100_000}})
    assert await over(task) == 137


async def said(task: Task, *command: str) -> bytes:
    """By a further process."""
    ours, stream = pair()
    await task.exec(ExecSpec("e1", process(*command)), stream)
    with ours:
        ours.settimeout(PATIENCE)
        text = await rest(ours)
    await task.wait_exec("e1")
    return text


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun")
async def test_its_network(world: InMachines) -> None:
    """The host's side of the tap answers; names are asked of the socket that came with the request."""
    name = f"vt{os.getpid()}"
    interface = {"name": "eth0", "mac": "02:42:0a:09:07:02", "mtu": 0, "addresses": ["10.9.7.2/24"],
                 "routes": [{"destination": "0.0.0.0/0", "gateway": "10.9.7.1"}], "neighbours": []}  # fmt: skip
    server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with tap(name, agents.TAP) as device, server, theirs:
        with netlink.Socket() as route:
            index = socket.if_nametoindex(name)
            route.request(rtnetlink.up(index), rtnetlink.address(index, ip_interface("10.9.7.1/24")))
        task = await world.started("sleep", "1000", network=(interface, device, theirs.fileno()))
        before = (await task.interface_counters())["eth0"]
        assert b"1 packets received" in await said(task, "busybox", "ping", "-c", "1", "-W", "20", "10.9.7.1")
        counted = (await task.interface_counters())["eth0"]
        assert counted["tx_packets"] > before["tx_packets"] and counted["rx_bytes"] >= before["rx_bytes"] + 64
        asking = asyncio.ensure_future(said(task, "busybox", "nslookup", "-type=a", "web.example", "127.0.0.11"))
        message = await asyncio.to_thread(server.recv, 65536)
        question = dns.parse(message)
        assert question.name == "web.example"
        server.send(dns.addresses(message, question, [IPv4Address("10.9.7.77")], dns.LARGEST))
        assert b"Address: 10.9.7.77" in await asking
        assert await over(task) == 137


async def test_qemu_is_killed(world: InMachines) -> None:
    task = await world.started("sleep", "1000")
    os.kill(task.pid, signal.SIGKILL)
    exit_ = await task.wait()
    assert exit_.status == 137 and "the guest ended without its program" in exit_.error
    await task.delete()


async def test_what_was_written_is_on_the_disk_when_the_program_has_ended(world: InMachines, tmp_path: Path) -> None:
    """Also when QEMU is killed right then: the agent has synced and unmounted the file system before it says so."""
    task = await world.started("sh", "-c", "echo kept > /word; exit 3")
    assert (await task.wait()).status == 3
    await task.delete()
    disk = tmp_path / task.id / "disk.ext4"
    shown = subprocess.run(["debugfs", "-R", "cat /upper/word", disk], capture_output=True, check=True)
    assert shown.stdout == b"kept\n"
    subprocess.run(["e2fsck", "-fn", disk], capture_output=True, check=True)
