"""Questions about other names: to the servers of a container or of this host, one after the other.

A server that refuses, or fails itself, is followed by the next at once, one without a reply after two seconds; but
its later reply still counts. So a slow server is waited for while no other one has the answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from corten.spec import dns
from corten.spec.dns import Question
from corten.spec.resolv_conf import PUBLIC_SERVERS, nameservers
from corten.supervisor.failures import print_exception
from corten.supervisor.loop import Loop
from corten.supervisor.names.attempts import Attempt, Datagram, Stream

Answer = Callable[[bytes], None]

_TRY = 2.0  # seconds for one server before the next is asked as well
_PATIENCE = 10.0  # seconds when there is no next one: programs ask again after five (resolv.conf(5)), twice
_AT_A_TIME = 3  # servers that are waited for at a time: each is a socket
_LOOK_EVERY = 0.25
_ELSEWHERE = (dns.SERVFAIL, dns.NOTIMP, dns.REFUSED)  # about the server, not about the name


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
    """One question under way, an `attempts.Caller`. `answer` is called once: with a server's answer, or with the last
    refusal, or SERVFAIL.

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
        kind: type[Attempt] = Datagram,
    ) -> None:
        self._loop, self._kind, self._among = loop, kind, among
        self._message, self._question = message, question
        self._servers = list(servers)
        self._answer: Answer | None = answer
        self._attempts: list[Attempt] = []
        self._refusal = b""
        self.deadline = 0.0

    @property
    def over(self) -> bool:
        return self._answer is None

    def next(self) -> None:
        """Ask the next server; those before may still answer, and are waited for when there is no other one."""
        while self._servers and not self._begin(self._servers.pop(0)):
            pass
        if not self._attempts:
            self._fail()
        self.deadline = time.monotonic() + (_TRY if self._servers else _PATIENCE)

    def late(self) -> None:
        """No reply until the deadline."""
        if self._servers:
            self.next()
        else:
            self._fail()

    def _begin(self, server: str) -> bool:
        attempt = self._kind(self._loop, self._message, self._question, self)
        try:
            attempt.begin(server)
        except (OSError, ValueError):
            attempt.close()
            return False
        self._attempts.append(attempt)
        if len(self._attempts) > _AT_A_TIME:
            self._attempts.pop(0).close()
        return True

    def answered(self, attempt: Attempt, reply: bytes) -> None:
        if dns.code(reply) in _ELSEWHERE:
            self._refusal = reply
            self.failed(attempt)
        else:
            self._finish(reply)

    def failed(self, attempt: Attempt) -> None:
        attempt.close()
        self._attempts.remove(attempt)
        self.next()

    def _fail(self) -> None:
        self._finish(self._refusal or dns.refuse(self._message, self._question, dns.SERVFAIL))

    def _finish(self, reply: bytes) -> None:
        answer = self._answer
        self.give_up()
        if answer is not None:
            answer(reply)

    def give_up(self) -> None:
        """The client does not wait for the answer any more."""
        self._answer = None
        for attempt in self._attempts:
            attempt.close()
        self._attempts.clear()
        self._servers.clear()
        for all in self._among:
            all.discard(self)


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
        kind = Stream if tcp else Datagram
        made = Asked(self._loop, message, question, servers, answer, everywhere, kind)
        for all in everywhere:
            all.add(made)
        if not self._looking:
            self._looking = True
            self._loop.after(_LOOK_EVERY, self._look)
        made.next()

    def _look(self) -> None:
        """The next step of every question whose deadline is over."""
        now = time.monotonic()
        for asked in list(self._asked):
            if not asked.over and asked.deadline < now:
                self._late(asked)
        self._looking = bool(self._asked)
        if self._looking:
            self._loop.after(_LOOK_EVERY, self._look)

    def _late(self, asked: Asked) -> None:
        """What goes wrong with one question must not end the process, which all containers have in common."""
        try:
            asked.late()
        except Exception:
            print_exception()
            asked.give_up()
