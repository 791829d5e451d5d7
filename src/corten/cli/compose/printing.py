"""The output of many containers as lines, each behind the name of its container: "web-1  | text".

Sources are added by any thread; one thread waits for all of them in one poll(2) and writes. A line is written whole,
whatever its length is in pieces up to LONGEST; the last one of a container may have no end.
"""

from __future__ import annotations

import os
import select
import threading

from corten.cli import signals
from corten.cli.output import STDERR, STDOUT, err, visible, write_all
from corten.client.errors import BadAnswer
from corten.client.stdcopy import Frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from corten.client.api import Answer, Upgraded

    class Source(Protocol):
        def fileno(self) -> int: ...

        def read(self) -> bytes | memoryview:
            """What has come, empty at the end."""

        def more(self) -> bool:
            """Whether something can be read that no poll shows."""

        def close(self) -> None: ...


_PATIENCE = 5.0  # seconds for the end of an output, once its container has ended
LONGEST = 1 << 16  # bytes of a line that are kept until its end comes
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class Attachment:
    """An upgraded connection as a source."""

    def __init__(self, upgraded: Upgraded) -> None:
        self._sock = upgraded.sock
        self._early = upgraded.early

    def fileno(self) -> int:
        return self._sock.fileno()

    def read(self) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            return self._sock.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def more(self) -> bool:
        return bool(self._early)

    def close(self) -> None:
        self._sock.close()


class Logs:
    """An answer as a source."""

    def __init__(self, answer: Answer) -> None:
        self._connection = answer.connection

    def fileno(self) -> int:
        return self._connection.fileno()

    def read(self) -> bytes | memoryview:
        return self._connection.read()

    def more(self) -> bool:
        return self._connection.buffered() or self._connection.ended()

    def close(self) -> None:
        self._connection.close()


class _Row:
    """One container's output: `rests` by stream, as far as its line has no end yet."""

    def __init__(self, name: str, source: Source, tty: bool) -> None:
        self.name = name
        self.source = source
        self.frames = None if tty else Frames()
        self.rests: dict[int, bytes] = {}
        self.done = threading.Event()

    def lines(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        found = []
        for stream, part in self.frames.feed(data) if self.frames is not None else [(STDOUT, data)]:
            *whole, rest = (self.rests.get(stream, b"") + bytes(part)).split(b"\n")
            found += [(stream, line) for line in whole]
            if len(rest) > LONGEST:
                found.append((stream, rest))
                rest = b""
            self.rests[stream] = rest
        return found

    def last(self) -> list[tuple[int, bytes]]:
        return [(stream, rest) for stream, rest in self.rests.items() if rest]


class Printer:
    """`width` is that of the longest name. `close` waits until what has come is written."""

    def __init__(self, prefix: bool = True, colour: bool = True, width: int = 0) -> None:
        self._prefix = prefix
        self._colour = colour and os.isatty(STDOUT)
        self._width = width
        self._colours: dict[str, int] = {}
        self._lock = threading.Lock()
        self._rows: dict[int, _Row] = {}
        self._fresh: list[_Row] = []
        self._last: dict[str, _Row] = {}  # by name
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ending = False
        self.idle = threading.Event()
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def add(self, name: str, source: Source, tty: bool) -> None:
        row = _Row(name, source, tty)
        with self._lock:
            self._width = max(self._width, len(name))
            self._last[name] = row
            self._fresh.append(row)
            self.idle.clear()
        os.write(self._write, b"+")

    def say(self, name: str, text: str) -> None:
        """A line of our own about a container that has ended, behind all of its output."""
        row = self._last.get(name)
        if row is not None:
            row.done.wait(_PATIENCE)
        with self._lock:
            write_all(STDOUT, f"{self._head(name, bare=True)}{visible(text)}\n".encode(errors="surrogateescape"))

    def close(self) -> None:
        """Once all sources have ended."""
        self._ending = True
        os.write(self._write, b".")
        self._thread.join()

    def _head(self, name: str, bare: bool = False) -> str:
        if not self._prefix or bare:
            return "" if not bare else f"{visible(name)} "
        service = name.rpartition("-")[0] or name
        number = self._colours.setdefault(service, _COLOURS[len(self._colours) % len(_COLOURS)])
        text = f"{visible(name).ljust(self._width)}  | "
        return f"\x1b[{number}m{text}\x1b[0m" if self._colour else text

    def _write_all(self) -> None:
        try:
            self._run()
        except BrokenPipeError:  # the end of the command, as in `cli.main`: nothing else ends what waits for this
            os._exit(128 + signals.NUMBERS["PIPE"])

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._read in ready:
                os.read(self._read, 4096)
                with self._lock:
                    for row in self._fresh:
                        self._rows[row.source.fileno()] = row
                        poll.register(row.source.fileno(), select.POLLIN)
                    ready += [row.source.fileno() for row in self._fresh if row.source.more()]
                    self._fresh = []
            for fd in ready:
                if fd in self._rows and not self._take(self._rows[fd]):
                    poll.unregister(fd)
                    row = self._rows.pop(fd)
                    row.source.close()
                    row.done.set()
            with self._lock:
                if not self._rows and not self._fresh:
                    self.idle.set()
                    if self._ending:
                        return

    def _take(self, row: _Row) -> bool:
        """Write what has come; False at the end."""
        while True:
            try:
                data = row.source.read()
            except (BadAnswer, OSError):  # the container or the engine has ended
                data = b""
            try:
                lines = row.lines(data) if data else row.last()
            except BadAnswer as error:  # the end of this one's output, and of no other's
                err(f"{row.name}: {error}")
                data, lines = b"", row.last()
            self._show(row.name, lines)
            if not data:
                return False
            if not row.source.more():
                return True

    def _show(self, name: str, lines: list[tuple[int, bytes]]) -> None:
        with self._lock:
            head = self._head(name).encode(errors="surrogateescape")
            for stream, line in lines:
                fd = STDERR if stream == STDERR else STDOUT
                text = visible(line.decode("utf-8", "surrogateescape"), fd) if self._prefix else ""
                body = text.encode("utf-8", "surrogateescape") if self._prefix else line
                write_all(fd, head + body + b"\n")
