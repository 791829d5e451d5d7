"""A layer's blob, stored or still arriving, decompressed and hashed into a pipe: what a thread does."""

from __future__ import annotations

import hashlib
import os
import select
import threading
import time
from collections.abc import Callable

from corten.errors import Invalid, Unavailable, Unsupported
from corten.store.compression import Decoder, detect
from corten.store.following import Following
from corten.units.durations import in_go

CODECS = ("tar", "gzip", "zstd")  # archives that a user chose may have others
SILENCE = 600.0  # seconds that an unpacking process may have a disk to wait for
_LOOK = 500  # milliseconds between two looks at whether to stop
_READ = 1 << 19
_ALWAYS = 10 << 30  # a layer may unpack to this much in any case,
_RATIO = 200  # or to so many times what it measures compressed (a zip bomb reaches 1,000 and more)


def check_size(name: str, size: int, compressed: int) -> None:
    """Raises Invalid for a layer that unpacks to more than it may, for what it measures compressed."""
    if size > max(_ALWAYS, _RATIO * compressed):
        raise Invalid(f"layer {name} unpacks to more than {size} bytes; this looks like a zip bomb")


class Stored:
    """A blob of the store, from its beginning. Owns the descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.at = 0
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def read(self, count: int) -> bytes:
        data = os.read(self._fd, count)
        self.at += len(data)
        return data

    def close(self) -> None:
        os.close(self._fd)


class Pump:
    """`run` returns the digest of the uncompressed stream. It closes the source and the pipe's end `writer`, which must
    not block.

    Raises Unavailable when nothing is read from the pipe for `SILENCE` seconds; Unsupported, before anything is
    decompressed, for a compression that images must not have; Invalid for what looks like a zip bomb.
    """

    def __init__(self, name: str, source: Stored | Following, writer: int, progress: Callable[[int], None]) -> None:
        self._name = name
        self._source = source
        self._writer = writer
        self._progress = progress
        self._hash = hashlib.sha256()
        self._out = 0
        self._stop = threading.Event()
        self._room = select.poll()
        self._room.register(writer, select.POLLOUT)

    def end(self) -> None:
        """Stop: the reader is gone. Thread-safe."""
        self._stop.set()
        if isinstance(self._source, Following):
            self._source.stop()

    def run(self) -> str:
        try:
            head = self._source.read(_READ)
            while 0 < len(head) < 8 and (more := self._source.read(_READ)):
                head += more
            kind = detect(head)
            if kind not in CODECS:
                raise Unsupported(f"layer {self._name} is compressed as {kind}, which no image may be")
            if kind == "tar" and isinstance(self._source, Following):
                return self._splice(self._source, head)
            self._pump(Decoder(kind), head)
        finally:
            os.close(self._writer)
            self._source.close()
        return "sha256:" + self._hash.hexdigest()

    def _splice(self, source: Following, head: bytes) -> str:
        """A tar as it is: the source has hashed the very same bytes."""
        self._write(head)
        while True:
            try:
                if not source.splice(self._writer, _READ):
                    return source.digest
            except BlockingIOError:
                self._wait()
            self._check()

    def _pump(self, decoder: Decoder, head: bytes) -> None:
        data = head
        while data:
            self._put(decoder.feed(data))
            while decoder.pending:
                self._put(decoder.feed(b""))
            self._progress(self._source.at)
            data = self._source.read(_READ)
        decoder.finish()

    def _put(self, data: bytes) -> None:
        self._check()  # also where nothing comes out: a megabyte of gzip may be 50,000 members without content
        self._out += len(data)
        check_size(self._name, self._out, self._source.at)
        self._hash.update(data)
        self._write(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._check()
            try:
                view = view[os.write(self._writer, view) :]
            except BlockingIOError:
                self._wait()

    def _wait(self) -> None:
        """Until there is room in the pipe."""
        given_up = time.monotonic() + SILENCE
        while not self._room.poll(_LOOK):
            self._check()
            if time.monotonic() > given_up:
                raise Unavailable(f"layer {self._name}: the unpacking process has read nothing for {in_go(SILENCE)}")

    def _check(self) -> None:
        if self._stop.is_set():
            raise BrokenPipeError("the unpacking process is gone")
