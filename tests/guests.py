"""A guest without a machine: the agent as the first process of fresh namespaces of this kernel, over a socketpair.

It stands in for QEMU behind `corten.vm.contract.Machine`. What a machine does to its guest is done from outside: a
tap's network device is moved into its network namespace, pausing stops the agent alone.
"""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from corten.guest.agent import Agent
from corten.kernel import mount as m
from corten.kernel import netlink, rtnetlink
from corten.kernel import process as p
from corten.supervisor import interfaces
from corten.supervisor.forked import inherit
from corten.supervisor.guests import NameServer
from corten.vm import frames
from corten.vm.contract import Disk, Interface, Machine

Json = dict[str, Any]
_NAMESPACES = p.CLONE_NEWNS | p.CLONE_NEWPID | p.CLONE_NEWNET | p.CLONE_NEWIPC | p.CLONE_NEWUTS


class SharedKernel:
    """In the place of `corten.guest.machine.Own`: the clock is the host's, and is left alone."""

    def add_randomness(self, data: bytes) -> None:
        assert len(data) >= 32

    def set_clock(self, seconds: float) -> None:
        assert seconds > 1e9

    def take_cpus(self) -> None:
        pass

    def take_memory(self, block: str = "") -> None:
        pass

    def take_devices(self, network: bool) -> None:
        pass


class ProcessHost:
    """`supervisor.virtual.Host` for machines of this module; without `make` one whose guest is the agent."""

    def __init__(self, make: Callable[[], ProcessMachine] | None = None) -> None:
        self._make = make or agent_machine
        self.machine: ProcessMachine | None = None

    shares_end = -1

    def shares_words(self) -> str:
        return ""

    def start(self, resources: Json, network: str, shares: Sequence[Json], score: int) -> Machine:
        assert not shares, "a process has no shares"
        self.machine = self._make()
        return self.machine

    def limit(self, resources: Json) -> list[str]:
        return []

    def out_of_memory(self) -> bool:
        return False

    def names(self, fd: int) -> NameServer:
        return NameServer(fd)

    def release(self) -> None:
        pass


class ProcessMachine:
    """`be` is what the guest does with its end of the port, in a process with these new namespaces; `words` become the
    machine's last ones."""

    def __init__(self, be: Callable[[socket.socket], None], namespaces: int = 0, words: str = "") -> None:
        self.words = words
        self.agent, theirs = socket.socketpair()
        with theirs:
            self.pid, self.ended = p.clone3(namespaces)
            if self.pid == 0:
                _be(be, theirs)
        self.attention = os.eventfd(0, os.EFD_CLOEXEC)
        self.memory = self.cpus = 0
        self.stalled = False

    def attend(self) -> None:
        pass

    def plug_disk(self, disk: Disk) -> None:
        raise NotImplementedError("a process has no disks")

    def plug_interface(self, interface: Interface) -> None:
        """The MAC is the one that the agent looks for."""
        name = interfaces.tap_name(interface.tap)
        with netlink.Socket() as route:
            route.request(rtnetlink.set_mac(socket.if_nametoindex(name), interface.mac))
        _in_child(lambda: interfaces.attach(self.pid, "plugged", interface.tap))

    def plug_share(self, tag: str, server: int) -> None:
        raise NotImplementedError("a process has no shares")

    def unplug_interface(self, name: str) -> None:
        pass  # the agent has put it aside, and it goes with the tap

    def pause(self) -> None:
        signal.pidfd_send_signal(self.ended, signal.SIGSTOP)

    def resume(self) -> None:
        self.stalled = False
        signal.pidfd_send_signal(self.ended, signal.SIGCONT)

    def go_on(self) -> None:
        self.resume()

    def set_memory(self, size: int) -> None:
        self.memory = size

    def set_cpus(self, count: int) -> None:
        self.cpus = count

    def last_words(self) -> str:
        return self.words

    def kill(self) -> None:
        if self.ended >= 0:
            signal.pidfd_send_signal(self.ended, signal.SIGKILL)

    def close(self) -> None:
        if self.ended < 0:
            return
        self.kill()
        p.reap(self.ended)
        self.ended = -1
        self.agent.close()
        os.close(self.attention)


def agent_machine() -> ProcessMachine:
    """One whose guest is the agent."""
    return ProcessMachine(_agent, _NAMESPACES)


def _be(guest: Callable[[socket.socket], None], port: socket.socket) -> None:
    try:
        inherit([2, port.fileno()])
        guest(port)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the host has ended the conversation
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _agent(port: socket.socket) -> None:
    m.set_propagation("/", m.MS_PRIVATE)
    m.move_to(m.new("proc"), "/proc")
    groups = m.clone(-100, "/sys/fs/cgroup", recursive=True)
    m.move_to(m.new("sysfs"), "/sys")  # with the network devices of its namespace
    m.move_to(groups, "/sys/fs/cgroup")
    m.move_to(m.new("tmpfs"), "/run")
    Agent(port.fileno(), SharedKernel()).run()


def _in_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0


class Puppet:
    """An agent of which every word is the test's; in the guest's process."""

    def __init__(self, port: socket.socket) -> None:
        self.port = port
        self._decoder = frames.Decoder(frames.FROM_HOST)

    def request(self, do: str) -> Json:
        """The next request of that kind; others are answered with an empty result, and frames are dropped."""
        while True:
            while (frame := self._decoder.next()) is None:
                data = self.port.recv(65536)
                if not data:
                    os._exit(0)
                self._decoder.feed(data)
            if frame.kind != frames.CONTROL:
                continue
            message = frames.content(frame.body)
            if message["do"] == do:
                return message
            self.answer(message)

    def answer(self, request: Json, ok: object = None) -> None:
        self.say({"id": request["id"], "ok": {} if ok is None else ok})

    def say(self, message: Json) -> None:
        self.raw(frames.message(message))

    def raw(self, data: bytes) -> None:
        self.port.sendall(data)

    def exits(self, status: int = 0, stream: int = 0) -> None:
        self.say({"event": "exit", "stream": stream, "status": status, "out_of_memory": False})
