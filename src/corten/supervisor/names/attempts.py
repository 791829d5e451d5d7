"""One question, sent to one server: by UDP, or by TCP.

Each has a socket and an id of its own, so a port that cannot be guessed, and only replies of that server are read.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Protocol

from corten.spec import dns
from corten.spec.dns import Question
from corten.supervisor import reserve
from corten.supervisor.loop import READ, WRITE, Loop

PORT = 53
_LARGEST = 65535


class Caller(Protocol):
    """What is called with the result: one of both, once; never from inside `begin`."""

    def answered(self, attempt: Attempt, reply: bytes) -> None:
        """The server's answer, with the id of the question."""

    def failed(self, attempt: Attempt) -> None:
        """The server cannot be reached, or sends something else."""


class Attempt:
    def __init__(self, loop: Loop, message: bytes, question: Question, caller: Caller) -> None:
        self._loop, self._caller, self._question = loop, caller, question
        self._id = int.from_bytes(os.urandom(2), "big")
        self._query = dns.with_id(message, self._id)
        self._socket: socket.socket | None = None

    def begin(self, server: str) -> None:
        """Raises OSError, ValueError for a server that cannot be asked."""
        raise NotImplementedError

    def close(self) -> None:
        """Idempotent."""
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _connected(self, server: str, kind: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        reserve.check(self._socket.fileno())
        address, _, zone = server.partition("%")
        scope = (0, socket.if_nametoindex(zone)) if zone else ()
        try:
            self._socket.connect((address, PORT, *scope))
        except BlockingIOError:
            pass  # TCP: it becomes writable
        return self._socket

    def _answered(self, reply: bytes) -> bool:
        """False for what is no answer to the question."""
        if not dns.answers(self._query, self._question, reply, self._id):
            return False
        self._caller.answered(self, dns.with_id(reply, self._question.id))
        return True


class Datagram(Attempt):
    def begin(self, server: str) -> None:
        connected = self._connected(server, socket.SOCK_DGRAM)
        connected.send(self._query)
        self._loop.watch(connected.fileno(), READ, self._readable)

    def _readable(self, _: int) -> None:
        """What is no answer is ignored: any host can send one."""
        assert self._socket is not None
        try:
            self._answered(self._socket.recv(_LARGEST))
        except BlockingIOError:
            return
        except OSError:  # refused, unreachable
            self._caller.failed(self)


class Stream(Attempt):
    def begin(self, server: str) -> None:
        self._received = bytearray()
        connected = self._connected(server, socket.SOCK_STREAM)
        self._loop.watch(connected.fileno(), WRITE, self._writable)

    def _writable(self, _: int) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(struct.pack(">H", len(self._query)) + self._query)  # a fresh connection has the room
        except OSError:
            self._caller.failed(self)
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
        self._received += data
        reply = dns.framed(self._received)
        if not data or (reply is not None and not self._answered(reply)):
            self._caller.failed(self)
