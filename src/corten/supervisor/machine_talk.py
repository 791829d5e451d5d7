"""A conversation in JSON lines, with QEMU's monitor (docs/interop/qmp-spec.rst of QEMU) or with its agent in a guest,
on a supervisor's loop: nothing waits.

    talk = Talk(loop, connection, on_event, on_end, greets=True)
    talk.ask("query-status", {}, (), lambda answer: ...)      # {"ok": ...} or {"error": text}

What comes is hostile: lines are bounded, answers without a question are dropped. A connection that breaks these rules
is closed, which `on_end` is called for.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from json import dumps
from typing import Any

from corten.errors import Failed
from corten.supervisor import wire
from corten.supervisor.loop import READ, WRITE, Loop
from corten.vm import qmp

Json = dict[str, Any]
Reply = Callable[[Json], None]

_PIECE = 1 << 16
_ASKED = 256  # questions without an answer


class Talk:
    """`connection` is its own from now on. `greets`: it says who it is, and has to be asked for its capabilities."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        on_event: Callable[[str, Json, float], None],
        on_end: Callable[[str], None],
        greets: bool,
        who: str = "QEMU",
    ) -> None:
        self._loop, self._connection = loop, connection
        self._on_event, self._on_end = on_event, on_end
        self._greets, self._ready, self._who = greets, not greets, who
        self._asked: dict[int, tuple[str, Reply]] = {}
        self._number = 0
        self._in = bytearray()
        self._out: deque[tuple[memoryview, list[int]]] = deque()
        self._later: list[tuple[str, Mapping[str, Any], Sequence[int], Reply]] = []
        connection.setblocking(False)
        loop.watch(connection.fileno(), READ, self._event)

    @property
    def alive(self) -> bool:
        return self._connection.fileno() >= 0

    def ask(self, command: str, arguments: Mapping[str, Any], fds: Sequence[int], reply: Reply) -> None:
        """`fds` stay the caller's. `reply` is called once, at the latest with the end."""
        if not self.alive:
            reply({"error": f"{command}: the machine does not answer any more"})
        elif len(self._asked) + len(self._later) >= _ASKED:
            reply({"error": f"{command}: {_ASKED} earlier requests have no answer yet"})
        elif not self._ready:
            self._later.append((command, arguments, [os.dup(fd) for fd in fds], reply))
        else:
            self._send(command, arguments, fds, reply)

    def _send(self, command: str, arguments: Mapping[str, Any], fds: Sequence[int], reply: Reply) -> None:
        self._number += 1
        self._asked[self._number] = command, reply
        message: Json = {"execute": command, "id": self._number}
        if arguments:
            message["arguments"] = dict(arguments)
        self._out.append((memoryview(dumps(message).encode() + b"\n"), [os.dup(fd) for fd in fds]))
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                data, fds = self._out[0]
                sent = wire.send_some(self._connection, data, fds)
                while fds:
                    os.close(fds.pop())
                self._out[0] = data[sent:], fds
                if sent == len(data):
                    self._out.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(f"cannot be written to: {error.strerror}")
            return
        self._loop.watch(self._connection.fileno(), READ | (WRITE if self._out else 0), self._event)

    def _event(self, bits: int) -> None:
        if bits & WRITE:
            self._flush()
        if bits & ~WRITE and self.alive:
            self._read()

    def _read(self) -> None:
        try:
            data = self._connection.recv(_PIECE)
        except BlockingIOError:
            return
        except ConnectionResetError:  # killed, with what it had not read yet
            data = b""
        except OSError as error:
            self._end(f"cannot be read from: {error.strerror}")
            return
        if not data:
            self._end("has closed its connection")
            return
        self._in += data
        try:
            self._take_lines()
        except Failed as failed:
            self._end(str(failed))

    def _take_lines(self) -> None:
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end]).replace(b"\xff", b"")  # by which an agent says that it begins anew
            del self._in[: end + 1]
            if line.strip():
                self._take(qmp.decode(line))
        if len(self._in) > qmp.MAX_LINE:
            raise Failed("has said something that is too long")

    def _take(self, message: Json) -> None:
        if "QMP" in message and self._greets and not self._ready:
            self._send("qmp_capabilities", {}, (), self._negotiated)
            return
        number = message.get("id")
        if "event" in message:
            name, data = message["event"], message.get("data", {})
            if isinstance(name, str) and isinstance(data, dict):
                self._on_event(name, data, _time(message))
        elif isinstance(number, int) and number in self._asked:
            command, reply = self._asked.pop(number)
            reply(_answer(command, message))

    def _negotiated(self, answer: Json) -> None:
        if "error" in answer:
            self._end(str(answer["error"]))
            return
        self._ready = True
        later, self._later = self._later, []
        for command, arguments, fds, reply in later:
            self._send(command, arguments, fds, reply)
            for fd in fds:
                os.close(fd)

    def forget(self, why: str) -> None:
        """What has been asked is not answered any more."""
        asked, self._asked = self._asked, {}
        for command, reply in asked.values():
            reply({"error": f"{command}: {why}"})

    def _end(self, why: str) -> None:
        self.close(f"{self._who} {why}")
        self._on_end(why)

    def close(self, why: str = "the machine has ended") -> None:
        if not self.alive:
            return
        self._loop.forget(self._connection.fileno())
        self._connection.close()
        for _, fds in self._out:
            for fd in fds:
                os.close(fd)
        for _, _, copies, _ in self._later:
            for fd in copies:
                os.close(fd)
        later, self._later = self._later, []
        self._out.clear()
        self.forget(why)
        for command, _, _, reply in later:
            reply({"error": f"{command}: {why}"})


def _time(message: Json) -> float:
    """Of an event, in seconds since the epoch; 0.0 when it has none."""
    given = message.get("timestamp")
    seconds, more = (given.get("seconds"), given.get("microseconds")) if isinstance(given, dict) else (0, 0)
    return seconds + more / 1e6 if isinstance(seconds, int) and isinstance(more, int) and seconds > 0 else 0.0


def _answer(command: str, message: Json) -> Json:
    if "error" in message:
        error = message["error"]
        text = error.get("desc") if isinstance(error, dict) else error
        return {"error": f"QEMU refuses {command}: {qmp.printable(text)}"}
    return {"ok": message.get("return")}
