"""What a supervisor's host gives a guest: QEMU in the container's control group, and answers to its DNS questions."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from corten.errors import Unsupported
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.runtime import cgroups, mountplan, prepare
from corten.runtime.cgroups import Cgroup
from corten.runtime.limits import set_oom_score
from corten.supervisor.loop import READ, Loop
from corten.supervisor.requests import Create
from corten.supervisor.virtual import Virtual
from corten.vm import planning, virtiofs
from corten.vm.contract import Machine
from corten.vm.start import start
from corten.vm.virtiofs import Virtiofsd

Json = dict[str, Any]

_IN_FLIGHT = 256  # questions of one guest
_LARGEST = 65535  # bytes of an answer


def virtual(request: Create, filter_fd: int, descriptors: list[int]) -> Virtual:
    """The instance. `descriptors` are those of `requests.Guest`, and are closed when the machine has them."""
    names = NameServer(descriptors.pop()) if request.guest.names else None
    return Virtual(request, filter_fd, Host(request, descriptors), names)


class Host:
    """One machine's control group on the host. Its limit of memory is what the guest may have and what QEMU needs; the
    container's own is in the guest."""

    def __init__(self, request: Create, descriptors: list[int]) -> None:
        self._request, self._descriptors = request, descriptors
        self._group: Cgroup | None = None
        self._server: Virtiofsd | None = None

    @property
    def shares_end(self) -> int:
        return self._server.ended if self._server else -1

    def shares_words(self) -> str:
        return self._server.last_words() if self._server else ""

    def start(self, resources: Json, network: str, shares: Sequence[Json], score: int) -> Machine:
        section = self._request.guest.section
        assert section is not None
        limits = {**resources, **planning.of_qemu(max(section.memory, section.shape.memory))}
        self._group = group = cgroups.create(cgroups.here(), self._request.cgroup, limits)

        def enter() -> None:
            group.enter_self()
            set_oom_score(0, {"oomScoreAdj": score})

        def join() -> None:
            enter()
            if network:
                with open(network, "rb") as namespace:
                    p.setns(namespace.fileno(), p.CLONE_NEWNET)

        try:
            if shares:
                self._server = _served(shares, enter)
            return start(section, self._descriptors, join, self._server.connection if self._server else -1)
        finally:
            self._close()

    def _close(self) -> None:
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors = []

    def limit(self, resources: Json) -> list[str]:
        return self._group.update(resources) if self._group else []

    def out_of_memory(self) -> bool:
        return self._group is not None and self._group.oom_count() > 0

    def names(self, fd: int) -> NameServer:
        return NameServer(fd)

    def release(self) -> None:
        """After the machine."""
        self._close()
        if self._server:
            self._server.close()
            self._server = None
        group, self._group = self._group, None
        if group:
            group.kill()
            group.remove()


def _served(shares: Sequence[Json], join: Callable[[], None]) -> Virtiofsd:
    """Errors as of the runtime for what cannot be mounted; Unsupported for what only this kernel can make of a file."""
    program = virtiofs.program()
    with ExitStack() as held:
        mounts: dict[int, int] = {}
        plans = {number: mountplan.parse(share) for number, share in enumerate(shares)}
        for number, plan in sorted(plans.items(), key=lambda item: item[1].kind == "host"):  # last: see `of_host`
            mounts[number] = fd = prepare.of_host(plan) if plan.kind == "host" else prepare.bind(plan)
            held.callback(os.close, fd)
            _check(fd, plan)
            m.set_attributes(fd, m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOSUID, recursive=True)
            if plan.kind == "host" and "ro" in plan.data:
                m.set_attributes(fd, m.MOUNT_ATTR_RDONLY, recursive=True)
        return Virtiofsd(program, [mounts[number] for number in plans], join)


def _check(fd: int, plan: mountplan.MountPlan) -> None:
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if kind not in (stat.S_IFDIR, stat.S_IFREG):
        what = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "named pipe"}.get(kind, "device")
        raise Unsupported(f"a {what} of the host cannot be reached from a guest: {plan.source} on {plan.target}")


class NameServer:
    """Asks the datagram socket that answers for the container's networks. An answer belongs to the question with its
    id, which is another one here: a guest chooses its ids, and two questions may have the same."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._asked: dict[int, tuple[bytes, Callable[[bytes], None]]] = {}
        self._next = 0
        self._loop: Loop | None = None

    def watch(self, loop: Loop) -> None:
        self._loop = loop
        loop.watch(self._socket.fileno(), READ, self._answers)

    def ask(self, question: bytes, send: Callable[[bytes], None]) -> None:
        """What is no question, and what the server does not take, is not answered: as with a datagram that is lost."""
        if not 12 <= len(question) <= 4096:
            return
        if len(self._asked) >= _IN_FLIGHT:
            del self._asked[next(iter(self._asked))]
        while (self._next in self._asked) or not self._next:
            self._next = (self._next + 1) & 0xFFFF
        self._asked[self._next] = question[:2], send
        try:
            self._socket.send(self._next.to_bytes(2, "big") + question[2:])
        except OSError:
            del self._asked[self._next]
        self._next = (self._next + 1) & 0xFFFF

    def _answers(self, _: int) -> None:
        try:
            reply = self._socket.recv(_LARGEST)
        except OSError:  # nothing there, or an ICMP error about an earlier question
            return
        if found := self._asked.pop(int.from_bytes(reply[:2], "big"), None):
            id, send = found
            send(id + reply[2:])

    def close(self) -> None:
        """Before its loop is closed."""
        if self._loop is not None:
            self._loop.forget(self._socket.fileno())
        self._socket.close()
