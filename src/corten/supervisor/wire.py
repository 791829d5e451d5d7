"""Frames between the daemon, the launcher and supervisors.

A frame is a 4-byte big-endian length, then that many bytes of JSON: one object. Descriptors travel beside the bytes
(SCM_RIGHTS) and an object says with "fds" how many of those that arrived are its own, in order. Requests carry "id"
and "do"; an answer carries the same "id" and either "ok" or "error"; what was not asked for carries "event". A request
to a supervisor may say by "until" (CLOCK_MONOTONIC) when its sender stops waiting: it is not done after that.

The first thing a supervisor says on a connection is {"event": "hello", "version": V}. A daemon must speak the frames
of every older version; what it does not know in an answer it ignores.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

VERSION = 8  # of supervisors; docs/supervisor.md says what each brought
MAX_FRAME = 16 << 20
_MAX_FDS = 64

Object = dict[str, Any]


class ProtocolError(Exception):
    """The other side does not speak this protocol; the connection is of no use any more."""


def encode(message: Object) -> bytes:
    body = json.dumps(message).encode()
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return struct.pack(">I", len(body)) + body


class Decoder:
    """Bytes and descriptors in, objects out. A length is checked before anything is kept for it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def feed(self, data: bytes, fds: list[int] | None = None) -> None:
        """Raises ProtocolError for more descriptors than a frame can have, which are closed."""
        self._buffer += data
        self._fds.extend(fds or ())
        if len(self._fds) > _MAX_FDS:
            self.close()
            raise ProtocolError(f"more than {_MAX_FDS} descriptors came")

    def close(self) -> None:
        """Close descriptors that came and are no frame's yet."""
        while self._fds:
            os.close(self._fds.pop())

    def next(self) -> tuple[Object, list[int]] | None:
        """The next whole object with its descriptors, which are the caller's now; None when there is none yet."""
        if len(self._buffer) < 4:
            return None
        (length,) = struct.unpack_from(">I", self._buffer)
        if length > MAX_FRAME:
            raise ProtocolError(f"a frame of {length} bytes is announced; the limit is {MAX_FRAME}")
        if len(self._buffer) < 4 + length:
            return None
        try:
            message = json.loads(self._buffer[4 : 4 + length].decode())
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not a JSON object: {error}") from error
        if type(message) is not dict or type(wanted := message.get("fds", 0)) is not int or wanted < 0:
            raise ProtocolError("not a JSON object with a number of descriptors")
        del self._buffer[: 4 + length]
        if wanted > len(self._fds):
            raise ProtocolError(f"{wanted} descriptors are announced, {len(self._fds)} came")
        return message, [self._fds.popleft() for _ in range(wanted)]


def receive(connection: socket.socket, decoder: Decoder) -> bool:
    """Read once from `connection` into `decoder`; False at the end. BlockingIOError as usual."""
    data, control, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(_MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    decoder.feed(data, descriptors(control))
    return bool(data)


def frames(connection: socket.socket) -> Iterator[tuple[Object, list[int]]]:
    """Every frame with its descriptors, until a blocking connection's end. What a caller that stops early has not
    taken is lost, except for frames behind the next descriptors: a read ends before those (unix(7), SCM_RIGHTS)."""
    decoder = Decoder()
    while receive(connection, decoder):
        while frame := decoder.next():
            yield frame


def descriptors(control: list[tuple[int, int, bytes]]) -> list[int]:
    return [
        fd
        for level, kind, data in control
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for (fd,) in struct.iter_unpack("i", data)
    ]


def send(connection: socket.socket, message: Object, fds: Sequence[int] = ()) -> None:
    """Send one frame on a blocking connection. The descriptors stay the caller's to close."""
    data = frame(message, fds)
    sent = send_some(connection, data, fds)
    if sent < len(data):
        connection.sendall(data[sent:])


def frame(message: Object, fds: Sequence[int]) -> bytes:
    """A whole frame, to be sent with these descriptors."""
    return encode({**message, "fds": len(fds)} if fds else message)


def send_some(connection: socket.socket, data: bytes | memoryview, fds: Sequence[int]) -> int:
    """How many bytes the socket took. With the first of them go the descriptors. BlockingIOError as usual."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))] if fds else []
    return connection.sendmsg([data], rights)
