"""Questions about other names: to the servers of a container or of this host, one after the other.

Each question has a socket and an id of its own, so a port that cannot be guessed, and only the server asked is heard.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Sequence

from corten.spec import dns
from corten.spec.dns import Question
from corten.spec.resolv_conf import PUBLIC_SERVERS, nameservers
from corten.supervisor.failures import print_exception
from corten.supervisor.loop import READ, WRITE, Loop

Answer = Callable[[bytes], None]

_TRY = 2.0  # seconds for one server before the next is asked
_LOOK_EVERY = 0.25
_LARGEST = 65535


class HostServers:
    """The host's name servers, read again when its resolv.conf changed. Loopback ones too: we ask from the host.

    While the file cannot be read they are those that it had last.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self._servers: list[str] = []
        self._failed = 0  # errno of the last attempt

    def __call__(self) -> Sequence[str]:
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                with open(self._path, errors="replace") as file:
                    self._servers = nameservers(file.read())
                self._seen = seen
            self._failed = 0
        except FileNotFoundError:
            self._servers, self._seen = [], (0, 0)
        except OSError as error:
            if error.errno != self._failed:  # it is said once, and not for each question
                self._failed = error.errno or -1
                print_exception()
        return self._servers or PUBLIC_SERVERS


class Asked:
    """One question under way. `answer` is called once: with a server's answer, or SERVFAIL when none gave any.

    It is in all of `among` until it is over.
    """

    def __init__(
        self,
        loop: Loop,
        message: bytes,
        question: Question,
        servers: Sequence[str],
        answer: Answer,
        among: Sequence[set[Asked]],
    ) -> None:
        self._loop = loop
        self._among = among
        self._message, self._question = message, question
        self._servers = list(servers)
        self._answer: Answer | None = answer
        self._socket: socket.socket | None = None
        self._query = b""
        self._id = 0
        self.deadline = 0.0

    @property
    def over(self) -> bool:
        return self._answer is None

    def next(self) -> None:
        """Ask the next server; the last one did not answer, or there was none."""
        self.close()
        if self._answer is None:
            return
        while self._servers:
            server = self._servers.pop(0)
            self.deadline = time.monotonic() + _TRY
            self._id = int.from_bytes(os.urandom(2), "big")
            self._query = dns.with_id(self._message, self._id)
            try:
                self._begin(server)
                return
            except (OSError, ValueError):
                self.close()
        self._finish(dns.refuse(self._message, self._question, dns.SERVFAIL))

    def _begin(self, server: str) -> None:
        raise NotImplementedError

    def _heard(self, reply: bytes) -> None:
        """A datagram came; what is no answer to the question is ignored."""
        if dns.answers(self._query, self._question, reply, self._id):
            self._finish(dns.with_id(reply, self._question.id))

    def _finish(self, reply: bytes) -> None:
        answer = self._answer
        self.give_up()
        if answer is not None:
            answer(reply)

    def give_up(self) -> None:
        """The client does not wait for the answer any more."""
        self._answer = None
        self.close()
        for all in self._among:
            all.discard(self)

    def close(self) -> None:
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connected(self, server: str, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        address, _, zone = server.partition("%")
        scope = (0, socket.if_nametoindex(zone)) if zone else ()
        try:
            self._socket.connect((address, 53, *scope))
        except BlockingIOError:
            pass  # TCP: it becomes writable
        return self._socket


class Datagram(Asked):
    def _begin(self, server: str) -> None:
        connected = self._connected(server, socket.SOCK_DGRAM)
        connected.send(self._query)
        self._loop.watch(connected.fileno(), READ, self._readable)

    def _readable(self, _: int) -> None:
        assert self._socket is not None
        try:
            self._heard(self._socket.recv(_LARGEST))
        except BlockingIOError:
            return
        except OSError:  # refused, unreachable
            self.next()


class Stream(Asked):
    def _begin(self, server: str) -> None:
        self._received = bytearray()
        connected = self._connected(server, socket.SOCK_STREAM)
        self._loop.watch(connected.fileno(), WRITE, self._writable)

    def _writable(self, _: int) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(struct.pack(">H", len(self._query)) + self._query)  # a fresh connection has the room
        except OSError:
            self.next()
            return
        self._loop.watch(self._socket.fileno(), READ, self._readable)

    def _readable(self, _: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.next()
            return
        self._received += data
        if (reply := dns.framed(self._received)) is not None:
            self._heard(reply)
            if not self.over:
                self.next()  # it answered another question


class Upstreams:
    """All questions under way."""

    def __init__(self, loop: Loop, resolv_conf: str) -> None:
        self._loop = loop
        self.of_host = HostServers(resolv_conf)
        self._asked: set[Asked] = set()
        self._looking = False

    def ask(
        self,
        message: bytes,
        question: Question,
        servers: Sequence[str],
        tcp: bool,
        answer: Answer,
        among: set[Asked],
    ) -> None:
        """The question is in `among` while it is under way."""
        everywhere = (self._asked, among)
        made = (Stream if tcp else Datagram)(self._loop, message, question, servers, answer, everywhere)
        for all in everywhere:
            all.add(made)
        if not self._looking:
            self._looking = True
            self._loop.after(_LOOK_EVERY, self._look)
        made.next()

    def _look(self) -> None:
        """The next server for every question whose time is up."""
        now = time.monotonic()
        for asked in list(self._asked):
            if not asked.over and asked.deadline < now:
                self._next(asked)
        self._looking = bool(self._asked)
        if self._looking:
            self._loop.after(_LOOK_EVERY, self._look)

    def _next(self, asked: Asked) -> None:
        """What goes wrong with one question must not end the process, which all containers have in common."""
        try:
            asked.next()
        except Exception:
            print_exception()
            asked.give_up()
