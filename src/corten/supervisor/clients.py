"""Attached clients: raw connections that were HTTP until they were upgraded and handed over.

Output to a client never waits and holds nothing else up: what its socket does not take goes to a small buffer, and
beyond that to an unlinked file, from which it is sent in order as the client reads. So a slow reader loses nothing,
an absent one costs disk up to a limit and is then dropped, and the container notices neither.

Input is the other way round: when the container does not read, the client is not read.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

from corten.spec.detach_keys import Watcher
from corten.supervisor import reserve
from corten.supervisor.loop import HANGUP, READ, WRITE, Loop
from corten.supervisor.requests import Attachment

CHUNK = 1 << 16
_IN_MEMORY = 256 << 10
_ON_DISK = 1 << 30


class Backlog:
    """Bytes that wait for a slow reader: the oldest in memory, the rest in an unlinked file."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._memory = bytearray()
        self._file = -1
        self._read_at = 0
        self._write_at = 0

    def __bool__(self) -> bool:
        return bool(self._memory) or self._read_at < self._write_at

    def push(self, data: bytes) -> bool:
        """Add to the end; False when there is no room left for this client."""
        if self._read_at == self._write_at and len(self._memory) + len(data) <= _IN_MEMORY:
            self._memory += data
            return True
        if self._write_at - self._read_at > _ON_DISK:
            return False
        try:
            if self._file < 0:
                self._file = os.open(self._directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
                reserve.check(self._file)
            written = os.pwrite(self._file, data, self._write_at)
        except OSError:
            return False
        self._write_at += written
        return written == len(data)  # the disk may become full in the middle

    def peek(self) -> bytes:
        if not self._memory and self._read_at < self._write_at:
            chunk = os.pread(self._file, _IN_MEMORY, self._read_at)
            self._read_at += len(chunk)
            self._memory += chunk
            if self._read_at == self._write_at:
                os.ftruncate(self._file, 0)
                self._read_at = self._write_at = 0
        return bytes(self._memory[:CHUNK])

    def pop(self, count: int) -> None:
        del self._memory[:count]

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Sink:
    """Where clients' input goes: the container's stdin pipe, or its terminal. `fd` is its own, and closed once."""

    def __init__(self, loop: Loop, fd: int, closes: bool) -> None:
        self._loop = loop
        self._fd = fd
        self._closes = closes  # a pipe is closed to say "end of input"; a terminal has other descriptors for output
        self._waiting = memoryview(b"")
        self._ending = False
        self._resume: list[Callable[[], None]] = []
        os.set_blocking(fd, False)

    @property
    def open(self) -> bool:
        return self._fd >= 0

    def write(self, data: bytes, resume: Callable[[], None]) -> bool:
        """Pass on what is taken now; False when the source must pause until `resume` is called."""
        if self._fd < 0:
            return True
        self._waiting = memoryview(bytes(self._waiting) + data if self._waiting else data)
        self._drain()
        if self._waiting:
            self._resume.append(resume)
            return False
        return True

    def end(self) -> None:
        """No more input will come. What waits is still written."""
        self._ending = True
        if not self._waiting:
            self.close()

    def _drain(self, _: int = 0) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._fd, self._waiting) :]
        except BlockingIOError:
            if self._closes:  # a terminal's master is watched for output already; it is retried with that
                self._loop.watch(self._fd, WRITE, self._drain)
            else:
                self._loop.after(0.01, self._drain)
            return
        except OSError:  # the reader is gone
            self._waiting = memoryview(b"")
            self.close()
        if self._closes and self._fd >= 0:
            self._loop.forget(self._fd)
        for resume in self._resume:
            resume()
        self._resume.clear()
        if self._ending:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            if self._closes:
                self._loop.forget(self._fd)
            os.close(self._fd)
        self._fd = -1


class Client:
    """One attached connection."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        options: Attachment,
        sink: Sink | None,
        spill: str,
        closed: Callable[[Client, str], None],
    ) -> None:
        self._loop = loop
        self._socket = connection
        self._sink = sink
        self._closed = closed
        self._mux = options.mux
        self._wants = {1: options.stdout, 2: options.stderr}
        self._typed = Watcher(options.detach_keys)
        self._backlog = Backlog(spill)
        self._reading = options.stdin and sink is not None
        self._paused = False
        self._ended = False
        self._finished = False
        self._alive = True
        self.took_input = self._reading
        connection.setblocking(False)
        self._watch()
        if options.replay:
            self._send(options.replay)
        if options.early and self._reading:
            self._input(options.early)

    # ------------------------------------------------------------------------------------------------ output

    @property
    def alive(self) -> bool:
        return self._alive

    def output(self, stream: int, data: bytes) -> None:
        if not self._alive or not self._wants.get(stream):
            return
        self._send(struct.pack(">BxxxI", stream, len(data)) + data if self._mux else data)

    def _send(self, data: bytes) -> None:
        if not self._backlog:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close("gone")
                return
            if sent == len(data):
                return
            data = data[sent:]
        if not self._backlog.push(data):
            self.close("too slow")
            return
        self._watch()

    def _flush(self) -> None:
        try:
            while chunk := self._backlog.peek():
                self._backlog.pop(self._socket.send(chunk))
        except BlockingIOError:
            return
        except OSError:
            self.close("gone")
            return
        if self._finished:
            self.close("finished")
        else:
            self._watch()

    def finish(self) -> None:
        """The container's output has ended: close once the client has had all of it."""
        self._finished = True
        if self._alive and not self._backlog:
            self.close("finished")

    @property
    def busy(self) -> bool:
        return self._alive and bool(self._backlog)

    # ------------------------------------------------------------------------------------------------- input

    def _ready(self, events: int) -> None:
        if events & HANGUP and self._paused:
            # A hang-up cannot be masked: it would be reported for ever. Without input to come there is no client left;
            # with input that the container has not taken yet, watching goes on when it has.
            if self._ended:
                self.close("gone")
            else:
                self._loop.forget(self._socket.fileno())
            return
        if events & WRITE and self._backlog:
            self._flush()
        if self._alive and events & ~WRITE:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.close("gone")
            return
        if data:
            if self._reading:
                self._input(data)
            return
        # Half-close: the client has no more input, and still reads the output.
        if self._reading and self._sink:
            self._reading = False
            self._closed(self, "end of input")
        self._paused = self._ended = True
        self._watch()

    def _input(self, data: bytes) -> None:
        data = self._typed.feed(data)
        if data and self._sink and not self._sink.write(data, self._continue):
            self._paused = True
            self._watch()
        if self._typed.found:
            self.close("detach")

    def _continue(self) -> None:
        self._paused = False
        self._watch()

    def _watch(self) -> None:
        if self._alive:
            events = (0 if self._paused else READ) | (WRITE if self._backlog else 0)
            self._loop.watch(self._socket.fileno(), events, self._ready)

    def close(self, why: str) -> None:
        if not self._alive:
            return
        self._alive = False
        self._loop.forget(self._socket.fileno())
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # the daemon may hold a copy until it has collected its own
        except OSError:
            pass
        self._socket.close()
        self._backlog.close()
        self._closed(self, why)
