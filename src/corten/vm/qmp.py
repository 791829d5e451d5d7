"""QEMU's monitor (docs/interop/qmp-spec.rst of QEMU): JSON lines, with descriptors beside a line. Synchronous.

    monitor = Monitor(connection)
    monitor.ask("query-status")                          # {"status": "running", ...}
    monitor.ask("getfd", {"fdname": "tap0"}, [fd])
    for event in monitor.events(): ...                   # what QEMU has reported meanwhile; never blocks

QEMU is attacked from inside of its guest, so what it says is bounded: a line has at most `MAX_LINE` bytes, and of
events that nothing has looked at the oldest are dropped. A monitor that breaks these rules raises Failed, once and for
all.
"""

from __future__ import annotations

import array
import json
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from corten.errors import Failed
from corten.units.durations import in_go

Json = dict[str, Any]

MAX_LINE = 1 << 20  # bytes
_MAX_EVENTS = 256
_PIECE = 1 << 16


class Event(NamedTuple):
    """`data` is of the shape that QEMU's documentation has for `name`, or anything else a broken QEMU may say."""

    name: str
    data: Json


class Monitor:
    """`connection` is a stream socket, closed by `close`. `timeout`: seconds for one answer. One that comes later is
    dropped: QEMU answers in order."""

    def __init__(self, connection: socket.socket, timeout: float) -> None:
        self._connection = connection
        self.timeout = timeout
        self._late = 0  # answers that nothing waits for any more
        self._buffer = bytearray()
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._is_negotiated = False
        self.is_closed = False  # by QEMU

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None, descriptors: Sequence[int] = ()) -> Any:
        """What QEMU returns. Failed with its words when it refuses, or when it does not answer in time."""
        deadline = time.monotonic() + self.timeout
        if not self._is_negotiated:
            self._negotiate(deadline)
        self._send({"execute": command, **({"arguments": arguments} if arguments else {})}, descriptors, deadline)
        return self._answer(command, deadline)

    def send(self, command: str) -> None:
        """Behind what was asked before; nothing waits for the answer. Failed when QEMU has closed the connection."""
        self._send({"execute": command}, (), time.monotonic() + self.timeout)
        self._late += 1

    @property
    def has_events(self) -> bool:
        """Some came with an answer. The connection is not readable for these."""
        return bool(self._events)

    def events(self) -> list[Event]:
        """All that have arrived. Failed when QEMU has closed the connection, or has broken the rules."""
        while self._read(0):
            pass
        self._take_events()
        events = list(self._events)
        self._events.clear()
        return events

    def wait(self, *names: str) -> Event:
        """The next event of one of these names; earlier ones of other names are dropped. Failed when it does not come
        in time."""
        deadline = time.monotonic() + self.timeout
        if not self._is_negotiated:
            self._negotiate(deadline)
        while True:
            while self._events:
                event = self._events.popleft()
                if event.name in names:
                    return event
            self._take(self._message(deadline))

    def _negotiate(self, deadline: float) -> None:
        while "QMP" not in self._message(deadline):
            pass
        self._is_negotiated = True
        self._send({"execute": "qmp_capabilities"}, (), deadline)
        self._answer("qmp_capabilities", deadline)

    def _send(self, message: Json, descriptors: Sequence[int], deadline: float) -> None:
        data = json.dumps(message).encode() + b"\n"
        self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            sent = self._connection.sendmsg([data], ancillary)
            self._connection.sendall(data[sent:])
        except OSError as error:
            self.is_closed = True
            raise Failed(f"cannot write to QEMU's monitor: {error.strerror or error}") from error

    def _answer(self, command: str, deadline: float) -> Any:
        while True:
            try:
                message = self._message(deadline)
            except Failed:
                self._late += 1
                raise
            if self._late or not _is_answer(message):
                self._take(message)
            elif "return" in message:
                return message["return"]
            else:
                error = message["error"]
                text = error.get("desc") if isinstance(error, dict) else error
                raise Failed(f"QEMU refuses {command}: {printable(text)}")

    def _take(self, message: Json) -> None:
        """An event, or an answer that nothing waits for any more."""
        if self._late and _is_answer(message):
            self._late -= 1
            return
        name, data = message.get("event"), message.get("data", {})
        if isinstance(name, str) and isinstance(data, dict):
            self._events.append(Event(name, data))

    def _take_events(self) -> None:
        while (line := self._line()) is not None:
            message = decode(line)
            if "QMP" in message and not self._is_negotiated:  # the greeting stays where `ask` looks for it
                self._buffer[:0] = line + b"\n"
                return
            self._take(message)

    def _message(self, deadline: float) -> Json:
        while (left := deadline - time.monotonic()) > 0:  # also where messages come without an end
            if (line := self._line()) is not None:
                return decode(line)
            self._read(left)
        raise Failed(f"QEMU has not answered within {in_go(self.timeout)}")

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MAX_LINE:
                raise Failed("QEMU has said something that is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _read(self, seconds: float) -> bool:
        """Whether more has come within this time."""
        if len(self._buffer) > MAX_LINE:
            return False
        self._connection.settimeout(seconds)
        try:
            data = self._connection.recv(_PIECE)
        except (BlockingIOError, TimeoutError):
            return False
        except OSError as error:
            self.is_closed = True
            raise Failed(f"cannot read from QEMU's monitor: {error.strerror or error}") from error
        if not data:
            self.is_closed = True
            raise Failed("QEMU has closed its monitor")
        self._buffer += data
        return True


def _is_answer(message: Json) -> bool:
    return "return" in message or "error" in message


def decode(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Failed(f"QEMU has said something that is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise Failed("QEMU has said something that is no JSON object")
    return message


def printable(text: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:500])
