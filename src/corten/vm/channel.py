"""One end of the port "corten.agent": objects both ways, and streams between it and descriptors, none of which waits
for another.

    channel = Channel(loop, port, received, lost, frames.FROM_GUEST)
    channel.send({"do": "counters", "id": 7})
    sink = channel.sink(STDOUT, 3, pipe)           # what comes on stream 3 is written there
    channel.source(STDIN, 3, other, ended)         # what is read there is sent on it

What is kept here is bounded, whatever the other side sends and whether or not it reads: `WINDOW` bytes for each stream
and direction, the objects that were sent, and a MiB of what it brings about itself, answers that are `offer`ed and
credits. A descriptor that is given to a sink or a source is theirs, and is closed by them.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from corten.errors import Corrupt
from corten.vm import frames
from corten.vm.frames import CONTROL, CREDIT, DNS, STREAMS, WINDOW

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
CHUNK = 64 << 10
_AT_A_TIME = 256 << 10
_CROWDED = 1 << 20  # bytes that wait for the port: what the other side alone would make more of is held back

Json = dict[str, Any]
Key = tuple[int, int]  # kind, stream


class Watches(Protocol):
    """An event loop (`supervisor.loop`)."""

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None: ...

    def forget(self, fd: int) -> None: ...


class Channel:
    """`received` gets each object, `lost` once the reason why nothing more comes: Corrupt for what is no frame, an
    OSError, EOFError, or what `received` or `asked` has raised. `asked` gets the number and the bytes of each DNS
    frame. `most`: see `frames.Decoder`."""

    def __init__(
        self,
        loop: Watches,
        port: int,
        received: Callable[[Json], None],
        lost: Callable[[Exception], None],
        most: int,
        asked: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self.loop = loop
        self._port = port
        self._received, self._lost, self._asked = received, lost, asked
        self._decoder = frames.Decoder(most)
        self._unsent: deque[memoryview] = deque()
        self._waiting = 0  # bytes of these
        self._owing: list[Sink] = []  # with credits that are held back
        self._sinks: dict[Key, Sink] = {}
        self._sources: dict[Key, Source] = {}
        self._highest = -1  # stream that there has been
        self._open = True
        self._room = bytearray(_AT_A_TIME)  # kept: another one each time would be mapped by the kernel, and taken back
        os.set_blocking(port, False)
        loop.watch(port, READ, self._ready)

    # ------------------------------------------------------------------------------------------------ sending

    def send(self, content: Json) -> None:
        """Invalid when it is larger than any may be."""
        self.put(frames.message(content))

    def put(self, data: bytes) -> None:
        """Whole frames. They are sent in order, as the port takes them."""
        if not self._open:
            return
        self._unsent.append(memoryview(data))
        self._waiting += len(data)
        if len(self._unsent) == 1:
            self._flush()

    def offer(self, data: bytes) -> None:
        """The same for what may be lost: it is when the other side does not read."""
        if not self.crowded:
            self.put(data)

    @property
    def crowded(self) -> bool:
        return self._waiting > _CROWDED

    def owes(self, sink: Sink) -> None:
        """Have it give its credit when there is room."""
        if sink not in self._owing:
            self._owing.append(sink)

    def _flush(self) -> None:
        try:
            while self._unsent:
                sent = os.write(self._port, self._unsent[0])
                self._waiting -= sent
                rest = self._unsent[0][sent:]
                if rest:
                    self._unsent[0] = rest
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error)
            return
        self.loop.watch(self._port, READ | (WRITE if self._unsent else 0), self._ready)
        if self._owing and not self._unsent:
            owing, self._owing = self._owing, []
            for sink in owing:
                sink.give()

    # ---------------------------------------------------------------------------------------------- receiving

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE and self._open:
            self._read()

    def _read(self) -> None:
        try:
            count = os.readv(self._port, [self._room])
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        if not count:
            self._fail(EOFError("the port was closed"))
            return
        self._decoder.feed(memoryview(self._room)[:count])
        try:
            while self._open and (frame := self._decoder.next()) is not None:
                self._take(frame)
        except Exception as error:  # also a bug of what is called: a port that is read no more must not be waited for
            self._fail(error)

    def _take(self, frame: frames.Frame) -> None:
        kind, stream, body = frame
        if kind == CONTROL:
            self._received(frames.content(body))
        elif kind == DNS:
            if self._asked:
                self._asked(stream, body)
        elif stream > self._highest:
            raise Corrupt(f"stream {stream} does not exist")
        elif kind == CREDIT:
            of, count = frames.credit_of(body)
            if source := self._sources.get((of, stream)):
                source.allow(count)
        elif sink := self._sinks.get((kind, stream)):
            sink.take(body)

    def _fail(self, error: Exception) -> None:
        if self._open:
            self._lost(error)

    def close(self) -> None:
        """The port stays the caller's. Sinks write what they have, sources end."""
        self._open = False
        self.loop.forget(self._port)
        self._unsent.clear()
        self._waiting, self._owing = 0, []
        for source in list(self._sources.values()):
            source.close()

    # ------------------------------------------------------------------------------------------------ streams

    def sink(self, kind: int, stream: int, fd: int, over: Callable[[bool], None] | None = None) -> Sink:
        """Write what comes to `fd` (-1: nowhere). `over` is called behind the last byte with True, and with False when
        it is not read any more; never when the sink is closed here."""
        assert kind in STREAMS
        self._highest = max(self._highest, stream)
        self._sinks[kind, stream] = sink = Sink(self, (kind, stream), fd, over)
        return sink

    def source(self, kind: int, stream: int, fd: int, ended: Callable[[], None]) -> Source:
        """Send what is read from `fd`. `ended` is called behind its last byte."""
        assert kind in STREAMS
        self._highest = max(self._highest, stream)
        self._sources[kind, stream] = source = Source(self, (kind, stream), fd, ended)
        return source

    def drop(self, key: Key) -> None:
        self._sinks.pop(key, None)
        self._sources.pop(key, None)


class Sink:
    """What comes on a stream, on its way to a descriptor."""

    def __init__(self, channel: Channel, key: Key, fd: int, over: Callable[[bool], None] | None = None) -> None:
        self._channel, self._key, self._fd, self._over = channel, key, fd, over
        self._waiting = bytearray()
        self._owed = 0  # bytes that are written, and the other side has no credit for yet
        self._ended = False
        self._then: list[Callable[[], None]] = []
        if fd >= 0:
            os.set_blocking(fd, False)

    def take(self, data: bytes) -> None:
        """Corrupt when the other side has sent more than it may."""
        if not data:
            self.end()
            return
        if len(self._waiting) + self._owed + len(data) > WINDOW:
            raise Corrupt(f"more than {WINDOW} bytes on stream {self._key[1]} that was no credit for")
        self._waiting += data
        self._write()

    def end(self) -> None:
        """Nothing more comes. What waits is still written."""
        self._ended = True
        self._channel.drop(self._key)
        self._write()

    def then(self, done: Callable[[], None]) -> None:
        """Call that when nothing waits here, which may be now."""
        self._then.append(done)
        self._write()

    def _write(self, _: int = 0) -> None:
        written = 0
        try:
            while self._waiting and self._fd >= 0:
                count = os.write(self._fd, memoryview(self._waiting)[:CHUNK])
                del self._waiting[:count]
                written += count
        except BlockingIOError:
            self._channel.loop.watch(self._fd, WRITE, self._write)
            self.give(written)
            return
        except OSError:  # it is not read any more: the rest goes nowhere, as behind a closed pipe
            over, self._over = self._over, None
            self.close()
            if over:
                over(False)
        written += len(self._waiting)
        self._waiting.clear()
        if self._fd >= 0:
            self._channel.loop.forget(self._fd)
        self.give(written)
        if self._ended:
            over, self._over = self._over, None
            self.close()
            if over:
                over(True)
        done, self._then = self._then, []
        for call in done:
            call()

    def give(self, count: int = 0) -> None:
        """Credit for so many bytes more, when it is worth a frame. To one that does not read it is owed: it may send no
        more than that."""
        self._owed += count
        if self._owed >= WINDOW // 2 and not self._ended:
            if self._channel.crowded:
                self._channel.owes(self)
                return
            owed, self._owed = self._owed, 0
            self._channel.put(frames.credit(*self._key, owed))

    def close(self) -> None:
        """What waits is not written, and what comes neither."""
        self._over = None
        if self._fd >= 0:
            self._channel.loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1


class Source:
    """What is read from a descriptor, on its way to a stream."""

    def __init__(self, channel: Channel, key: Key, fd: int, ended: Callable[[], None]) -> None:
        self._channel, self._key, self._fd, self._ended = channel, key, fd, ended
        self._credit = WINDOW
        self._left: int | None = None
        self._waits = True  # epoll(7) takes it: it does not take files, which are always readable
        os.set_blocking(fd, False)
        self._watch()

    def allow(self, count: int) -> None:
        """Corrupt when that is more than has been sent."""
        if self._credit + count > WINDOW:
            raise Corrupt(f"credit for more than was sent on stream {self._key[1]}")
        self._credit += count
        self._watch()

    def finish(self, left: int) -> None:
        """What wrote there has ended. What has been written is still sent, at most `left` bytes: others may go on."""
        self._left = left
        self._watch()

    def _watch(self) -> None:
        if self._fd < 0:
            return
        if self._left is None and self._waits:
            if not self._credit:  # not only paused: a hang-up would be reported for ever
                self._channel.loop.forget(self._fd)
                return
            try:
                self._channel.loop.watch(self._fd, READ, self._ready)
                return
            except PermissionError:
                self._waits = False
        while self._fd >= 0 and self._credit:
            self._ready()

    def _ready(self, _: int = 0) -> None:
        if self._left == 0:
            self._end()
            return
        try:
            data = os.read(self._fd, min(self._credit, CHUNK, CHUNK if self._left is None else self._left))
        except BlockingIOError:
            if self._left is not None:
                self._end()
            return
        except OSError:  # EIO: the last process has closed the terminal's other side
            data = b""
        if not data:
            self._end()
            return
        if self._left is not None:
            self._left -= len(data)
        self._credit -= len(data)
        self._channel.put(frames.frame(*self._key, data))
        if not self._credit:
            self._channel.loop.forget(self._fd)

    def _end(self) -> None:
        self._channel.put(frames.frame(*self._key))
        self.close()
        self._ended()

    @property
    def open(self) -> bool:
        """Its end has not been sent."""
        return self._fd >= 0

    def close(self) -> None:
        """Nothing more is sent."""
        if self._fd >= 0:
            self._channel.drop(self._key)
            self._channel.loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
