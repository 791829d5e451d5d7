"""One container's name server: its sockets at 127.0.0.11, in its own namespace.

Names of containers are answered from the directory and never forwarded, whatever record is asked for. Other names go to
the container's servers or the host's, from the host's namespace; while all of a container's networks are internal they
are refused (CVE-2024-29018).

A program asks the same again and again, and an answer is the same until the directory changes: one by UDP is kept, by
what was asked behind the id.

All containers share this process, so what one of them can make it keep is bounded: answers, questions under way,
connections, and what comes or goes on each.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from corten.errors import Corrupt
from corten.spec import dns
from corten.spec.dns import Question
from corten.supervisor import reserve
from corten.supervisor.loop import READ, WRITE, Loop
from corten.supervisor.names.directory import Directory
from corten.supervisor.names.upstreams import Asked, Upstreams

_IN_FLIGHT = 256  # forwarded questions of one container; more are refused
_BY_TCP = 64  # of these, when it asks by TCP: an answer may have 64 KB
_CLIENTS = 64  # connections of one container; more are closed
_TCP_IDLE = 10.0  # seconds
_AT_A_TIME = 64  # datagrams, before others get their turn
_KEPT = 1000  # answers
_KEPT_BYTES = 256 << 10  # of these, with their questions
_LARGEST = 4096  # bytes of a question
_UNSENT = 2 * (2 + dns.LARGEST)  # bytes of answers that wait for a connection


class Service:
    """`servers` are the container's own, from --dns; `open`: one of its networks has a way out."""

    def __init__(
        self, loop: Loop, directory: Directory, upstreams: Upstreams, container: str, udp: int, tcp: int
    ) -> None:
        self._loop, self._directory, self._upstreams = loop, directory, upstreams
        self._container = container
        self.servers: Sequence[str] = ()
        self.open = False
        self._udp, self._tcp = socket.socket(fileno=udp), socket.socket(fileno=tcp)
        self._answers: dict[bytes, list[bytes]] = {}
        self._size = 0  # bytes of `_answers`
        self._version = -1
        self._turn = 0
        self._asked: set[Asked] = set()
        self._clients: set[Client] = set()
        self._udp.setblocking(False)
        self._tcp.setblocking(False)
        loop.watch(self._udp.fileno(), READ, self._datagrams)
        loop.accept(self._tcp, self._came)

    def close(self) -> None:
        """Closes the sockets: as long as one is in the namespace, it and its devices stay."""
        for client in list(self._clients):
            client.close()
        for asked in list(self._asked):
            asked.give_up()
        for one in (self._udp, self._tcp):
            self._loop.forget(one.fileno())
            one.close()

    # ----------------------------------------------------------------------------------------------------- serving

    def _datagrams(self, _: int) -> None:
        """What was asked before is answered right here: that is nearly every question, and half the time of each."""
        self._renew()
        answers, receive, send = self._answers, self._udp.recvfrom, self._send
        for _ in range(_AT_A_TIME):
            try:
                message, peer = receive(_LARGEST)
            except BlockingIOError:
                return
            if (found := answers.get(message[2:])) is not None:
                self._turn += 1
                send(peer, message[:2] + found[self._turn % len(found)])
            else:
                self.answer(message, False, partial(send, peer))

    def _renew(self) -> None:
        """Answers are of the directory as it is now."""
        if self._version != self._directory.version:
            self._forget()
            self._version = self._directory.version

    def _forget(self) -> None:
        self._answers.clear()
        self._size = 0

    def _keep(self, asked: bytes, found: list[bytes]) -> None:
        self._renew()
        size = len(asked) + sum(map(len, found))
        if len(self._answers) >= _KEPT or self._size + size > _KEPT_BYTES:
            self._forget()
        self._answers[asked] = found
        self._size += size

    def _send(self, peer: tuple[str, int], reply: bytes) -> None:
        try:
            self._udp.sendto(reply, peer)
        except OSError:
            return  # its buffer is full, or it is gone: it asks again, as with every lost datagram

    def _came(self, accepted: socket.socket) -> None:
        now = time.monotonic()
        for client in [c for c in self._clients if c.idle_since + _TCP_IDLE < now]:
            client.close()
        if len(self._clients) >= _CLIENTS or not reserve.allows(accepted.fileno()):
            accepted.close()
            return
        self._clients.add(Client(self._loop, accepted, self.answer, self._clients.discard))

    def answer(self, message: bytes, tcp: bool, send: Callable[[bytes], None]) -> None:
        """Answer, now or later. What is no question gets no answer, as from other servers."""
        try:
            question = dns.parse(message)
        except Corrupt:
            return
        found = self._known(message, question, dns.LARGEST if tcp else dns.limit(message, question))
        if not found:
            self._forward(message, question, tcp, send)
            return
        if not tcp:
            self._keep(message[2:], found)
        self._turn += 1
        send(message[:2] + found[self._turn % len(found)])

    def _known(self, message: bytes, question: Question, limit: int) -> list[bytes]:
        """Answers from the directory without their ids, to be given in turn; none when it is to be forwarded.

        Clients take the first address of several: each answer begins with another, so that they share the work.
        """
        if (asked := dns.reverse(question.name)) is not None:
            names = self._directory.reverse(self._container, asked)
            if names:
                shown = [name for name in names if dns.is_name(name)] if question.kind in (dns.PTR, dns.ANY) else []
                return [dns.names(message, question, shown, limit)[2:]]
            return []
        addresses = self._directory.addresses(self._container, question.name)
        if addresses is None:
            return []
        version = {dns.A: (4,), dns.AAAA: (6,), dns.ANY: (4, 6)}.get(question.kind, ())
        chosen = [ip for ip in addresses if ip.version in version]
        turns = range(min(len(chosen), 16) or 1)
        return [dns.addresses(message, question, chosen[turn:] + chosen[:turn], limit)[2:] for turn in turns]

    def _forward(self, message: bytes, question: Question, tcp: bool, send: Callable[[bytes], None]) -> None:
        if not self.open:
            send(dns.refuse(message, question, dns.REFUSED))
        elif len(self._asked) >= (_BY_TCP if tcp else _IN_FLIGHT):
            send(dns.refuse(message, question, dns.SERVFAIL))
        else:
            servers = self.servers or self._upstreams.of_host()
            self._upstreams.ask(message, question, servers, tcp, send, self._asked)


class Client:
    """A connection by TCP: questions with their length before them, answers the same way, in the order they come."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        answer: Callable[[bytes, bool, Callable[[bytes], None]], None],
        gone: Callable[[Client], None],
    ) -> None:
        self._loop, self._socket, self._answer, self._gone = loop, connection, answer, gone
        self._received, self._unsent = bytearray(), bytearray()
        self.idle_since = time.monotonic()
        connection.setblocking(False)
        loop.watch(connection.fileno(), READ, self._ready)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._gone(self)

    def _ready(self, _: int) -> None:
        """It is read only when it has read what it was answered."""
        if self._unsent:
            self._flush()
        else:
            self._receive()
        self._answer_next()

    def _receive(self) -> None:
        """It is closed at its end, and for a question longer than any."""
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.idle_since = time.monotonic()
        self._received += data
        if not data or int.from_bytes(self._received[:2], "big") > _LARGEST:
            self.close()

    def _answer_next(self) -> None:
        while self._socket.fileno() >= 0 and not self._unsent and (message := dns.framed(self._received)) is not None:
            del self._received[: 2 + len(message)]
            self._answer(message, True, self._send)

    def _send(self, reply: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._unsent += struct.pack(">H", len(reply)) + reply
        if len(self._unsent) > _UNSENT:  # answers to what it asked before
            self.close()
        else:
            self._flush()

    def _flush(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._loop.watch(self._socket.fileno(), WRITE if self._unsent else READ, self._ready)
