"""One container's name server: its sockets at 127.0.0.11, in its own namespace.

Names of containers are answered from the directory and never forwarded, whatever record is asked for. Other names go to
the container's servers or the host's, from the host's namespace; while all of a container's networks are internal they
are refused (CVE-2024-29018).

A program asks the same again and again, and an answer is the same until the directory changes: it is kept, by what was
asked behind the id.
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
from corten.supervisor.loop import READ, WRITE, Loop
from corten.supervisor.names.directory import Directory
from corten.supervisor.names.upstreams import Asked, Upstreams

_IN_FLIGHT = 256  # forwarded questions and connections of one container; more are refused
_TCP_IDLE = 10.0  # seconds
_AT_A_TIME = 64  # datagrams, before others get their turn
_KEPT = 1000  # answers
_LARGEST = 4096  # bytes of a question


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
        self._version = -1
        self._turn = 0
        self._asked: set[Asked] = set()
        self._clients: set[Client] = set()
        for one, heard in ((self._udp, self._datagrams), (self._tcp, self._accept)):
            one.setblocking(False)
            loop.watch(one.fileno(), READ, heard)

    def close(self) -> None:
        """Lets go of the namespace: as long as a socket is in it, it and its devices stay."""
        for client in list(self._clients):
            client.close()
        for asked in self._asked:
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
            self._answers.clear()
            self._version = self._directory.version

    def _send(self, peer: tuple[str, int], reply: bytes) -> None:
        try:
            self._udp.sendto(reply, peer)
        except OSError:
            return  # its buffer is full, or it is gone: it asks again, as with every lost datagram

    def _accept(self, _: int) -> None:
        try:
            accepted, _ = self._tcp.accept()
        except OSError:
            return
        now = time.monotonic()
        for client in [c for c in self._clients if c.idle_since + _TCP_IDLE < now]:
            client.close()
        if len(self._clients) >= _IN_FLIGHT:
            accepted.close()
            return
        self._clients.add(Client(self._loop, accepted, self.answer, self._clients.discard))

    def answer(self, message: bytes, tcp: bool, send: Callable[[bytes], None]) -> None:
        """Answer, now or later. What is no question gets no answer, as from other servers."""
        self._renew()
        key = message[2:] if not tcp else b"t" + message[2:]
        if (found := self._answers.get(key)) is None:
            try:
                question = dns.parse(message)
            except Corrupt:
                return
            found = self._known(message, question, dns.LARGEST if tcp else dns.limit(message, question))
            if not found:
                self._forward(message, question, tcp, send)
                return
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            self._answers[key] = found
        self._turn += 1
        send(message[:2] + found[self._turn % len(found)])

    def _known(self, message: bytes, question: Question, limit: int) -> list[bytes]:
        """Answers from the directory without their ids, to be given in turn; none when it is to be forwarded.

        Clients take the first address of several: each answer begins with another, so that they share the work.
        """
        if (asked := dns.reverse(question.name)) is not None:
            names = self._directory.reverse(self._container, asked)
            if names:
                shown = names if question.kind in (dns.PTR, dns.ANY) else []
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
        elif len(self._asked) >= _IN_FLIGHT:
            send(dns.refuse(message, question, dns.SERVFAIL))
        else:
            asked: list[Asked] = []

            def heard(reply: bytes) -> None:
                self._asked.difference_update(asked)
                send(reply)

            made = self._upstreams.ask(message, question, self.servers or self._upstreams.of_host(), tcp, heard)
            asked.append(made)
            if not made.over:
                self._asked.add(made)


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
        loop.watch(connection.fileno(), READ, self._readable)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._gone(self)

    def _readable(self, bits: int) -> None:
        if bits & WRITE:
            self._flush()
        if not bits & ~WRITE or self._socket.fileno() < 0:
            return
        try:
            data = self._socket.recv(65535)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.idle_since = time.monotonic()
        self._received += data
        while len(self._received) >= 2 and len(self._received) >= (
            end := 2 + int.from_bytes(self._received[:2], "big")
        ):
            message = bytes(self._received[2:end])
            del self._received[:end]
            self._answer(message, True, self._send)

    def _send(self, reply: bytes) -> None:
        if self._socket.fileno() < 0:
            return
        self._unsent += struct.pack(">H", len(reply)) + reply
        if len(self._unsent) > 1 << 20:  # it asks and does not read
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
        self._loop.watch(self._socket.fileno(), READ | WRITE if self._unsent else READ, self._readable)
