"""netlink(7): the framing that rtnetlink and nfnetlink share, and a small synchronous socket.

A datagram is a row of messages; a message is a header, a fixed struct that its family defines, and attributes:

    nlmsghdr     u32 length, u16 type, u16 flags, u32 sequence, u32 port       (native byte order)
    attribute    u16 length, u16 type, payload, padded to 4 bytes              (types can nest)

Requests are answered while sendmsg(2) runs, so the answers are in the socket's queue when it returns: nothing here
ever waits for the kernel, and a call costs what the work in the kernel costs (0.05 to 1 ms).
Sources: netlink(7), rtnetlink(7), include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x01
NLM_F_MULTI = 0x02
NLM_F_ACK = 0x04
NLM_F_ECHO = 0x08
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

_NLM_F_CAPPED = 0x100  # in an answer: the request is not repeated in the error
_NLM_F_ACK_TLVS = 0x200
_NLA_F_NESTED = 0x8000
_NLA_TYPE = 0x3FFF
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_RECEIVE = 1 << 18  # bytes of a dump that are read at once
_ANSWER = 1 << 15  # no datagram of answers or notifications is longer (NLMSG_GOODSIZE); more is dear to have ready

_SO_ATTACH_FILTER = 26
_SOCK_FILTER = struct.Struct("=HBBI")
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_MESSAGE = 1  # NLMSGERR_ATTR_MSG
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class Request(NamedTuple):
    """One message to send, without its sequence number. `name` is for the error: what one would call it."""

    name: str
    kind: int
    flags: int
    body: bytes


class Message(NamedTuple):
    kind: int
    flags: int
    sequence: int
    port: int  # in a notification: the socket whose request changed something
    body: bytes


# --------------------------------------------------------------------------------------------------------- codec


def attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + _PADDING[length & 3]


def nest(kind: int, *children: bytes) -> bytes:
    return attribute(kind | _NLA_F_NESTED, b"".join(children))


def string(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """nfnetlink's integers are in network byte order, rtnetlink's in the machine's."""
    return attribute(kind, struct.pack(">I", value))


def encode(requests: Sequence[Request], sequence: int) -> bytes:
    """The requests as one datagram, numbered from `sequence`."""
    parts = []
    for number, request in enumerate(requests, sequence):
        length = _HEADER.size + len(request.body)
        parts.append(_HEADER.pack(length, request.kind, request.flags | NLM_F_REQUEST, number, 0))
        parts.append(request.body + _PADDING[length & 3])
    return b"".join(parts)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises OSError(EBADMSG) at a length that does not fit."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise OSError(errno.EBADMSG, f"netlink message cut off at byte {offset}")
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            raise OSError(errno.EBADMSG, f"netlink message of {length} bytes at byte {offset} of {len(data)}")
        yield Message(kind, flags, sequence, port, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


def attribute_list(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type, payload) in order, flags stripped from the type. Raises OSError(EBADMSG) at a length that does not fit."""
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            raise OSError(errno.EBADMSG, f"netlink attribute of {length} bytes at byte {offset} of {len(data)}")
        yield kind & _NLA_TYPE, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by type; the last of a kind wins."""
    return dict(attribute_list(data, offset))


def text(payload: bytes) -> str:
    return payload.split(b"\0", 1)[0].decode(errors="replace")


class Answer(NamedTuple):
    """An NLMSG_ERROR: `number` 0 is an acknowledgement; `explanation` is the kernel's own sentence, or empty."""

    number: int
    explanation: str


def answer(message: Message) -> Answer:
    """Decode an NLMSG_ERROR with its extended acknowledgement."""
    (code,) = struct.unpack_from("=i", message.body)
    explanation = ""
    if message.flags & _NLM_F_ACK_TLVS:
        repeated = _HEADER.size
        if not message.flags & _NLM_F_CAPPED:
            repeated = (struct.unpack_from("=I", message.body, 4)[0] + 3) & ~3
        explanation = text(attributes(message.body, 4 + repeated).get(_ERROR_MESSAGE, b""))
    return Answer(-code, explanation)


def failure(number: int, name: str, explanation: str = "") -> OSError:
    """An OSError for errno `number`: its text has the kernel's explanation, and what was asked."""
    reason = f"{os.strerror(number)} ({explanation})" if explanation else os.strerror(number)
    return OSError(number, f"{reason} in {name}")


# -------------------------------------------------------------------------------------------------------- socket


class Socket:
    """A synchronous netlink socket. It belongs to the network namespace that it was made in.

    With `fd` the socket is a duplicate of one made elsewhere (in a container's namespace, say); the original stays
    its owner's. Closing is the caller's, `with` does it. Not for two threads at once.
    """

    def __init__(self, protocol: int = NETLINK_ROUTE, fd: int | None = None) -> None:
        if fd is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
            self._socket.bind((0, 0))
        else:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol, os.dup(fd))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._sequence = 1
        self.port: int = self._socket.getsockname()[0]  # what notifications call this socket
        while fd is not None and self._receive() is not None:
            pass  # answers to another's requests, which may have the numbers of ours

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def reserve(self, sending: int, receiving: int) -> None:
        """Buffers for large batches, in bytes; beyond the machine's limits, which CAP_NET_ADMIN may."""
        self._socket.setsockopt(socket.SOL_SOCKET, 32, sending)  # SO_SNDBUFFORCE
        self._socket.setsockopt(socket.SOL_SOCKET, 33, receiving)  # SO_RCVBUFFORCE

    def join(self, group: int) -> None:
        """Receive a multicast group's notifications (read them with `notifications`, on a socket of their own)."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def filter(self, program: Sequence[tuple[int, int, int, int]]) -> None:
        """Receive only what a classic BPF program lets pass (socket(7), SO_ATTACH_FILTER): rows of code, jt, jf, k."""
        rows = ctypes.create_string_buffer(b"".join(_SOCK_FILTER.pack(*row) for row in program))
        self._socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(rows))
        )

    def notifications(self) -> list[Message]:
        """The queued notifications, without waiting. Raises OSError(ENOBUFS) when some were lost."""
        found: list[Message] = []
        while (data := self._receive()) is not None:
            found.extend(messages(data))
        return found

    def answers(self, requests: Sequence[Request]) -> list[Answer | None]:
        """Send them in one datagram; per request its answer, None where the kernel gave none."""
        first = self._sequence
        self._sequence += len(requests)
        self._socket.send(encode(requests, first))
        found: list[Answer | None] = [None] * len(requests)
        while None in found and (data := self._receive()) is not None:
            for message in messages(data):
                index = message.sequence - first  # of an earlier call that was broken off: none of these
                if message.kind == NLMSG_ERROR and 0 <= index < len(requests):
                    found[index] = answer(message)
        return found

    def request(self, *requests: Request) -> None:
        """Send the requests in one datagram; the kernel does every one of them in order. Raises the first error.

        A request that fails does not keep the later ones from being done.
        """
        acknowledged = [r._replace(flags=r.flags | NLM_F_ACK) for r in requests]
        raise_first(requests, self.answers(acknowledged))

    def ask(self, request: Request) -> tuple[Message | None, Answer | None]:
        """For one object: the message that describes it, or the kernel's answer why there is none."""
        sequence = self._sequence
        self._sequence += 1
        self._socket.send(encode([request], sequence))
        while (data := self._receive()) is not None:
            for message in messages(data):
                if message.sequence == sequence:
                    found = answer(message) if message.kind == NLMSG_ERROR else None
                    return (None, found) if found else (message, None)
        return None, None

    def dump(self, request: Request) -> list[Message]:
        """All objects of a kind. Repeats when the kernel says that the list changed while it was read."""
        for _ in range(10):
            found, interrupted = self._dump_once(request)
            if not interrupted:
                return found
        return found  # it changes all the time: what was read is as good as any

    def _dump_once(self, request: Request) -> tuple[list[Message], bool]:
        self._sequence += 1
        sequence = self._sequence
        self._socket.send(encode([request._replace(flags=request.flags | NLM_F_DUMP)], sequence))
        found: list[Message] = []
        interrupted = False
        while True:
            for message in messages(self._socket.recv(_RECEIVE)):
                if message.sequence != sequence:
                    continue
                interrupted |= bool(message.flags & 0x10)  # NLM_F_DUMP_INTR
                if message.kind == NLMSG_DONE:
                    return found, interrupted
                if message.kind == NLMSG_ERROR:
                    raise failure(*_named(answer(message), request.name))
                found.append(message)

    def _receive(self) -> bytes | None:
        try:
            return self._socket.recv(_ANSWER, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None


def raise_first(requests: Iterable[Request], answers: Iterable[Answer | None]) -> None:
    """Raise the first failure as OSError; a request that was not answered at all counts as EPROTO."""
    missing: Request | None = None
    for request, found in zip(requests, answers):
        if found is None:
            missing = missing or request
        elif found.number:
            raise failure(*_named(found, request.name))
    if missing:
        raise failure(errno.EPROTO, missing.name, "the kernel gave no answer")


def _named(found: Answer, name: str) -> tuple[int, str, str]:
    return found.number, name, found.explanation
