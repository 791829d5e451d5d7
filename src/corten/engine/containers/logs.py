"""Reading a container's log: Docker's json-file format, rotated as NAME, NAME.1 (younger), NAME.2 (older) ..., or
Kubernetes' of a container in a pod (`supervisor.cri_log`), of which the file is read that has the path now.

Each line of a file is one JSON object {"log": text, "stream": "stdout" | "stderr", "time": RFC 3339} and sometimes
"attrs". Files are read in large pieces and decoded many lines at once, because a log of 100 MB has a million lines.
"""

from __future__ import annotations

import asyncio
import os
import re
import urllib.parse
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from corten.aio.sources import closing
from corten.aio.threads import run_uncancelled
from corten.engine.containers.watch import DirectoryWatch
from corten.errors import Conflict, Unavailable
from corten.spec.docker import times
from corten.tasks.contract import Exit, Task
from corten.units.durations import SECOND

PIECE = 1 << 20
_LONGEST_LINE = 64 << 20  # a line that is longer is damage, not a log
_CATCH_UP = 1.0  # seconds
_KEPT_HEADS = 1 << 14  # as many as there are lengths: a longer line is written in pieces of 16 KiB

T = TypeVar("T")


class Line(msgspec.Struct, gc=False):
    """What is needed of a line when it is shown as it was written: making nothing else takes half the time."""

    log: str = ""
    stream: Literal["stdout", "stderr"] = "stdout"


class Entry(Line):
    time: str = ""
    attrs: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a client asks for. Times are nanoseconds since the epoch, 0 for no bound; `tail` None is everything.
    `kubernetes` is the format of the file."""

    stdout: bool = True
    stderr: bool = True
    since: int = 0
    until: int = 0
    tail: int | None = None
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    mux: bool = True
    kubernetes: bool = False


class _File(NamedTuple):
    fd: int
    inode: int


class _Heads(dict[int, bytes]):
    """The heads of a stream's frames, by the length of what follows."""

    def __init__(self, stream: int) -> None:
        self._begin = bytes((stream, 0, 0, 0))

    def __missing__(self, length: int) -> bytes:
        head = self._begin + length.to_bytes(4, "big")
        if len(self) < _KEPT_HEADS:
            self[length] = head
        return head


_lines = msgspec.json.Decoder(Line)
_entries = msgspec.json.Decoder(Entry)
_heads = {"stdout": _Heads(1), "stderr": _Heads(2)}


async def catch_up(task: Task | None) -> None:
    """Returns when a running container's log has what it has written until now. A supervisor that does not say so
    within a second keeps nothing back of what is there."""
    if task is None:
        return
    try:
        async with asyncio.timeout(_CATCH_UP):
            await task.write_log()
    except (Conflict, Unavailable, TimeoutError):  # it has just ended, with all of its log written; or is stopped
        return


async def read(path: Path, wanted: Selection, ended: asyncio.Future[Exit] | None = None) -> AsyncIterator[bytes]:
    """Pieces of output as the client gets them, framed when `wanted.mux`. Following stops when `ended` is done."""
    if not wanted.follow or ended is None:
        async with closing(_present(path, wanted)) as present:
            async for piece in present:
                yield piece
        return
    with DirectoryWatch(path.parent) as watch:
        follower = _Follower(path, wanted, watch, ended)
        try:
            async with closing(follower.run()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            follower.close()


async def _present(path: Path, wanted: Selection) -> AsyncIterator[bytes]:
    files = open_all(path)
    try:
        for file, offset in await _where(files, wanted.tail):
            reader = _Reader(file.fd, offset, wanted)
            while (piece := await asyncio.to_thread(reader.next)) is not None:
                if piece:
                    yield piece
                if reader.past_until:
                    return
    finally:
        for file in files:
            os.close(file.fd)


def open_all(path: Path) -> list[_File]:
    """The files of a log, oldest first. The caller closes them."""
    names = [path]
    while (older := path.with_name(f"{path.name}.{len(names)}")).exists():
        names.append(older)
    files: list[_File] = []
    for name in reversed(names):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # not begun yet, or rotated while we looked
            continue
        inode = os.fstat(fd).st_ino
        if any(inode == other.inode for other in files):
            os.close(fd)
        else:
            files.append(_File(fd, inode))
    return files


async def _where(files: list[_File], tail: int | None) -> list[tuple[_File, int]]:
    """`start_points`, in a thread when the files have to be read for it."""
    return start_points(files, tail) if tail is None else await run_uncancelled(lambda: start_points(files, tail))


def start_points(files: list[_File], tail: int | None) -> list[tuple[_File, int]]:
    """Where to begin in which file so that the last `tail` lines are read."""
    if tail is None:
        return [(file, 0) for file in files]
    chosen: list[tuple[_File, int]] = []
    left = tail
    for file in reversed(files):
        offset, found = _last_lines(file.fd, left)
        chosen.append((file, offset))
        left -= found
        if left <= 0:
            break
    return chosen[::-1]


def _last_lines(fd: int, count: int) -> tuple[int, int]:
    """The offset of the last `count` lines of a file, and how many there are."""
    end = os.fstat(fd).st_size
    if count <= 0 or not end:
        return end, 0
    found, position = 0, end - 1  # the newline that closes the last line begins none
    while position > 0:
        begin = max(0, position - 65536)
        block = os.pread(fd, position - begin, begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == count:
                return begin + at + 1, count
        position = begin
    return 0, found + 1


class _Reader:
    """Reads one file from an offset to its present end, a piece at a time."""

    def __init__(self, fd: int, offset: int, wanted: Selection) -> None:
        self.fd = fd
        self.offset = offset
        self.past_until = False
        self._wanted = wanted
        self._rest = b""

    def next(self) -> bytes | None:
        """The next piece, perhaps empty; None at the end of what is there. A torn last line waits for its rest.

        A file that another program has shortened (logrotate, copytruncate) is read from its new beginning.
        """
        data = os.pread(self.fd, PIECE, self.offset)
        if not data and os.fstat(self.fd).st_size < self.offset:
            self.offset, self._rest = 0, b""
            data = os.pread(self.fd, PIECE, 0)
        if not data:
            return None
        self.offset += len(data)
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._rest = self._rest + data if len(self._rest) < _LONGEST_LINE else b""
            return b""
        lines = self._rest + data[:cut] if self._rest else data[:cut]
        self._rest = data[cut:]
        output, self.past_until = render(lines, self._wanted)
        return output


def render(data: bytes, wanted: Selection) -> tuple[bytes, bool]:
    """Output for some whole lines of a file, and whether one was behind `until`."""
    past = False
    lines: Sequence[Line]
    if wanted.since or wanted.until or wanted.timestamps or wanted.details:
        entries = list(_of_kubernetes(data)) if wanted.kubernetes else _decode(_entries, data)
        if wanted.since or wanted.until:
            entries, past = _within(entries, wanted)
        if wanted.timestamps or wanted.details:
            entries = [_decorated(entry, wanted) for entry in entries]
        lines = entries
    elif wanted.kubernetes:
        lines = list(_of_kubernetes(data))
    else:
        lines = _decode(_lines, data)
    if not (wanted.stdout and wanted.stderr):
        lines = [line for line in lines if (wanted.stderr if line.stream == "stderr" else wanted.stdout)]
    if not wanted.mux:
        return "".join([line.log for line in lines]).encode(), past
    return b"".join([_heads[line.stream][len(text := line.log.encode())] + text for line in lines]), past


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> list[T]:
    """Lines that are damaged (a crash, a full disk) are passed over."""
    try:
        return decoder.decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return list(_decode_each(decoder, data))


def _decode_each(decoder: msgspec.json.Decoder[T], data: bytes) -> Iterator[T]:
    for line in data.split(b"\n"):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def _of_kubernetes(data: bytes) -> Iterator[Entry]:
    """TIME STREAM F TEXT for each line, P for a piece of one: then the next goes on with it."""
    for line in data.split(b"\n"):
        time, stream, kind, text = (*line.split(b" ", 3), b"", b"", b"")[:4]
        if stream in (b"stdout", b"stderr") and kind in (b"F", b"P"):
            end = "\n" if kind == b"F" else ""
            name: Literal["stdout", "stderr"] = "stderr" if stream == b"stderr" else "stdout"
            yield Entry(text.decode(errors="replace") + end, name, time.decode(errors="replace"))


def _within(entries: list[Entry], wanted: Selection) -> tuple[list[Entry], bool]:
    kept: list[Entry] = []
    for entry in entries:
        at = nanoseconds(entry.time)
        if wanted.until and at > wanted.until:
            return kept, True
        if at >= wanted.since:
            kept.append(entry)
    return kept, False


def _decorated(entry: Entry, wanted: Selection) -> Entry:
    text = entry.log
    if wanted.details and entry.attrs:
        quote = urllib.parse.quote_plus
        text = ",".join(f"{quote(k)}={quote(v)}" for k, v in sorted(entry.attrs.items())) + " " + text
    elif wanted.details:
        text = " " + text
    if wanted.timestamps:
        text = f"{full_time(entry.time)} {text}"
    return Entry(text, entry.stream, entry.time)


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?")


def full_time(text: str) -> str:
    """The time with all nine decimals, as Docker shows it."""
    found = _TIME.match(text)
    return f"{found[1]}.{(found[2] or ''):0<9}Z" if found else text


def nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of an entry's time (always UTC); 0 for nonsense."""
    found = _TIME.match(text)
    return _seconds(found[1]) * SECOND + int((found[2] or "").ljust(9, "0")) if found else 0


@lru_cache(maxsize=64)
def _seconds(text: str) -> int:
    return times.parse_time(text) // SECOND


class _Follower:
    """Reads what is there, then what comes, across rotations, until the container ends."""

    def __init__(self, path: Path, wanted: Selection, watch: DirectoryWatch, ended: asyncio.Future[Exit]) -> None:
        self._path = path
        self._wanted = wanted
        self._watch = watch
        self._ended = ended
        self._file: _File | None = None
        self._reader: _Reader | None = None

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None

    async def run(self) -> AsyncIterator[bytes]:
        """The tail of the present log, then what is new. The watch is older than the first look: nothing is missed."""
        async with closing(self._begin()) as pieces:
            async for piece in pieces:
                yield piece
        while True:
            last_round = self._ended.done()
            async with closing(self._drain()) as pieces:
                async for piece in pieces:
                    yield piece
            if last_round or (self._reader is not None and self._reader.past_until):
                return
            if not await self._wait():
                return

    async def _begin(self) -> AsyncIterator[bytes]:
        files = open_all(self._path)
        try:
            points = await _where(files, self._wanted.tail)
        except BaseException:
            for file in files:
                os.close(file.fd)
            raise
        unused = [file for file in files if file not in [point[0] for point in points]]
        for file in unused:
            os.close(file.fd)
        for index, (file, offset) in enumerate(points):
            self.close()
            self._file, self._reader = file, _Reader(file.fd, offset, self._wanted)
            try:
                async for piece in self._read_on():
                    yield piece
            except BaseException:
                for later, _ in points[index + 1 :]:
                    os.close(later.fd)
                raise

    async def _read_on(self) -> AsyncIterator[bytes]:
        assert self._reader is not None
        while (piece := await asyncio.to_thread(self._reader.next)) is not None:
            if piece:
                yield piece

    async def _drain(self) -> AsyncIterator[bytes]:
        """Up to the end of the youngest file. A file is left only when there is a younger one and it has no more."""
        while True:
            younger = self._younger()
            try:
                if self._reader is not None:
                    async for piece in self._read_on():
                        yield piece
            except BaseException:  # a client that disconnects here, too
                if younger is not None:
                    os.close(younger.fd)
                raise
            if younger is None:
                return
            self.close()
            self._file, self._reader = younger, _Reader(younger.fd, 0, self._wanted)

    def _younger(self) -> _File | None:
        """The file that follows the present one, opened; the oldest when the present one has been deleted."""
        files = open_all(self._path)
        inodes = [file.inode for file in files]
        here = inodes.index(self._file.inode) if self._file and self._file.inode in inodes else -1
        chosen = files[here + 1] if here + 1 < len(files) else None
        for file in files:
            if file is not chosen:
                os.close(file.fd)
        return chosen

    async def _wait(self) -> bool:
        """Until the log changes or the container ends; False when `until` is reached first."""
        left = (self._wanted.until - times.now()) / SECOND if self._wanted.until else None
        if left is not None and left <= 0:
            return False
        changed = asyncio.ensure_future(self._watch.changed())
        waiting: set[asyncio.Future[Any]] = {changed, self._ended}
        try:
            done, _ = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        return bool(done)


async def replay(path: Path, mux: bool) -> AsyncIterator[bytes]:
    """The whole log, for a client that attaches with logs=1."""
    async with closing(read(path, replace(Selection(), mux=mux))) as pieces:
        async for piece in pieces:
            yield piece
