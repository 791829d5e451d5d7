"""The noun `History`.

with history.recording(ref, attributes, outputs, trace) as recording:      # `trace` is where events go as well
    ... recording.trace(event) ...
    recording.made(built)

<root>/HEX      what a build said; HEX is a name of ours: a client's never is one of a file
<root>/HEX.N    what was attested of its result
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from corten.aio.threads import to_disk_thread
from corten.build import attributes as frontend
from corten.build.contract import Asked, Event, Trace
from corten.build.history.log import BuildLog, events
from corten.build.history.record import FAILURE, Attached, Blob, BuildRecord, Output, why
from corten.errors import Conflict, CortenError, Invalid, NotFound, Unavailable
from corten.spec import digest as digests
from corten.store.table import Table

if TYPE_CHECKING:
    from corten.build.result import Built

log = logging.getLogger(__name__)
KIND = "build-history"
_MOST = 100  # records
_PINNED = 50
_BYTES = 64 << 20  # of all logs
_AGE = 30 * 86400.0  # seconds
_ERROR = 64 << 10  # characters of an error
_ATTACHED = 4 << 20  # bytes of what is attached once
_REFERENCE = 256  # characters of a build's name
_OUTPUT = 16 << 10  # characters of an output's attributes
_ATTACHMENTS = 16  # of one build
_TEXTS = 256 << 10  # characters of a record's attributes
_BEHIND = 1000  # events that a listener may be behind
_SHOWN = 100
Change = tuple[Literal["started", "complete", "deleted"], BuildRecord]


class _Listener:
    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Change] = asyncio.Queue(_BEHIND)
        self.lost = False

    async def changes(self) -> AsyncIterator[Change]:
        """Raises Unavailable to one that does not keep up."""
        while not (self.lost and self.waiting.empty()):
            yield await self.waiting.get()
        raise Unavailable("more builds have changed than were listened to")


class Recording:
    """A build that is under way. `trace` takes its events, and passes them on."""

    def __init__(self, record: BuildRecord, onwards: Trace) -> None:
        self.record = record
        self.attached: list[bytes] = []
        self.log = BuildLog()
        self._onwards = onwards

    def trace(self, event: Event) -> None:
        self._onwards(event)
        self.log.add(event)
        record, log = self.record, self.log
        record.total, record.done, record.cached, record.warnings = log.total, log.done, log.cached, log.warnings

    def made(self, built: Built) -> None:
        """What came of it."""
        self.record.image, self.record.answer = built.id, dict(built.answer)
        if (root := built.root) is not None:
            self.record.result = Blob(root.media_type, root.digest, root.size)
        for each in built.predicates:
            self._attach(each.type, each.body)

    def failed(self, status: bytes) -> None:
        """With a google.rpc.Status, for clients that show where."""
        self._attach(FAILURE, status)

    def _attach(self, kind: str, body: bytes) -> None:
        """Left out when it is too large, or one too many."""
        if len(body) <= _ATTACHED and len(self.attached) < _ATTACHMENTS:
            self.attached.append(body)
            self.record.attached.append(Attached(kind, digests.of(body), len(body)))


class History:
    """`table` has the records, `root` is a directory of the history's own. In the event loop."""

    def __init__(self, table: Table, root: Path) -> None:
        self._table = table
        self._root = root
        self._records: dict[str, BuildRecord] = {}
        self._running: dict[str, Recording] = {}
        self._saving: set[asyncio.Task[None]] = set()
        self._listeners: set[_Listener] = set()
        for file, body in table.list(KIND).items():
            try:
                record = msgspec.convert(body, BuildRecord)
            except msgspec.ValidationError:  # of another version
                table.delete(KIND, file)
                continue
            self._records[record.ref] = record
        self._sweep()

    def _sweep(self) -> None:
        """Builds of a daemon that was killed have ended with it; logs of none go."""
        for record in self._records.values():
            if not record.completed:
                record.completed, record.error = record.created, "the daemon has ended in the middle of it"
                self._put(record)
        known = {record.file for record in self._records.values()}
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if path.suffix == ".part" or path.stem not in known:
                path.unlink()

    async def settled(self) -> None:
        """All that has ended is on the disk."""
        while self._saving:
            await asyncio.wait(self._saving)

    # ----------------------------------------------------------------------------------------------------- recording

    @contextmanager
    def recording(
        self, ref: str, attributes: Mapping[str, str], outputs: Sequence[Asked], onwards: Trace
    ) -> Iterator[Recording]:
        """Until the block ends, and with what ended it. It is known by then, and on the disk a moment later.

        An earlier build of this reference is forgotten. Raises Conflict for one that is under way, Invalid for a
        reference that is too long.
        """
        recording = self._begin(ref, attributes, outputs, onwards)
        try:
            yield recording
        except BaseException as error:
            self._end(recording, why(error))
            raise
        self._end(recording, "")

    def _begin(self, ref: str, attributes: Mapping[str, str], outputs: Sequence[Asked], onwards: Trace) -> Recording:
        if len(ref) > _REFERENCE:
            raise Invalid(f"the reference of a build has at most {_REFERENCE} characters: {ref[:_SHOWN]!r}...")
        if ref in self._running:
            raise Conflict(f"a build with the reference {ref[:_SHOWN]!r} is under way already")
        if ref in self._records:
            self._forget(self._records[ref])
        record = BuildRecord(
            ref=ref,
            frontend=frontend.FRONTEND,
            attributes=_bounded(attributes),
            outputs=[Output(each.type, _bounded(each.attributes, _OUTPUT)) for each in outputs],
            created=time.time(),
            file=secrets.token_hex(16),
        )
        self._records[ref] = record
        self._running[ref] = Recording(record, onwards)
        self._put(record)
        self._say(("started", record))
        return self._running[ref]

    def _end(self, recording: Recording, error: str) -> None:
        record, data = recording.record, [recording.log.encoded(), *recording.attached]
        record.error, record.completed, record.bytes = error[:_ERROR], time.time(), sum(map(len, data))
        del self._running[record.ref]
        task = asyncio.get_running_loop().create_task(self._save(record, data), name="build history")
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        self._say(("complete", record))

    async def _save(self, record: BuildRecord, data: Sequence[bytes]) -> None:
        try:
            await to_disk_thread(_written, self._paths(record), data)
        except OSError as error:  # a full disk, say
            record.bytes, record.attached = 0, []
            log.warning("what build %s said is not kept: %s", record.ref[:_SHOWN], error)
        if self._records.get(record.ref) is not record:  # forgotten meanwhile
            self._unlink(record)
            return
        self._put(record)
        try:
            self._collect()
        except (CortenError, OSError) as error:
            log.warning("older records of builds were not removed: %s", error)

    def _put(self, record: BuildRecord) -> None:
        record.generation += 1
        try:
            self._table.put(KIND, record.file, msgspec.to_builtins(record))
        except CortenError as error:  # a full disk, say: it is known here still
            log.warning("the record of build %s was not written: %s", record.ref[:_SHOWN], error)

    def _collect(self) -> None:
        """What is too many, too much or too old, the oldest first."""
        free = sorted(self._complete(pinned=False), key=lambda record: record.created)
        now = time.time()
        while free and (len(self._records) > _MOST or self.size > _BYTES or now - free[0].completed > _AGE):
            self._forget(free.pop(0))

    def _complete(self, pinned: bool) -> list[BuildRecord]:
        return [record for record in self._records.values() if record.completed and record.pinned is pinned]

    def _forget(self, record: BuildRecord) -> None:
        del self._records[record.ref]
        self._table.delete(KIND, record.file)
        self._unlink(record)
        self._say(("deleted", record))

    def _paths(self, record: BuildRecord) -> list[Path]:
        """Of the log, and of what is attached."""
        names = [record.file, *(f"{record.file}.{number}" for number in range(len(record.attached)))]
        return [self._root / name for name in names]

    def _unlink(self, record: BuildRecord) -> None:
        for path in self._paths(record):
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------------- looking

    @property
    def size(self) -> int:
        """Bytes of all logs, and of what is attached."""
        return sum(record.bytes for record in self._records.values())

    def all(self) -> list[BuildRecord]:
        """Newest first."""
        return sorted(self._records.values(), key=lambda record: -record.created)

    def exact(self, ref: str) -> BuildRecord:
        """By its whole reference. Raises NotFound."""
        if ref not in self._records:
            raise NotFound(f"no build {ref[:_SHOWN]!r} is in the history")
        return self._records[ref]

    def find(self, ref: str) -> BuildRecord:
        """By its reference, or the unique start of one. Raises NotFound, Invalid."""
        if ref in self._records or not ref:
            return self.exact(ref)
        found = [name for name in self._records if name.startswith(ref)]
        if len(found) > 1:
            raise Invalid(f"several builds have references that begin with {ref[:_SHOWN]!r}")
        return self.exact(found[0] if found else ref)

    def ended(self, ref: str) -> BuildRecord | None:
        """The record of this very reference, when its build has ended."""
        record = self._records.get(ref)
        return record if record is not None and record.completed else None

    async def events(self, record: BuildRecord) -> list[Event]:
        """What it said (until now)."""
        running = self._running.get(record.ref)
        if running is None:
            await self.settled()
        path = self._paths(record)[0]
        data = running.log.encoded() if running is not None else await asyncio.to_thread(_read, path)
        return await asyncio.to_thread(lambda: list(events(data)))

    async def attached(self, digest: str) -> bytes | None:
        """What was attested of some build, by its digest; None when there is none."""
        await self.settled()
        for record in self._records.values():
            for each, path in zip(record.attached, self._paths(record)[1:]):
                if each.digest == digest:
                    return await asyncio.to_thread(_read, path) or None
        return None

    # ------------------------------------------------------------------------------------------------------ changing

    def pin(self, record: BuildRecord, pinned: bool) -> None:
        """A pinned one is kept until it is removed. Raises Conflict when there are as many as there may be."""
        if pinned and not record.pinned and len(self._complete(pinned=True)) >= _PINNED:
            raise Conflict(f"{_PINNED} builds are pinned already: unpin or remove one")
        record.pinned = pinned
        self._put(record)

    def remove(self, record: BuildRecord) -> None:
        """Raises Conflict for one that is under way."""
        if not record.completed:
            raise Conflict(f"build {record.ref[:_SHOWN]} is under way")
        self._forget(record)

    # ----------------------------------------------------------------------------------------------------- listening

    @contextmanager
    def listening(self) -> Iterator[AsyncIterator[Change]]:
        """What changes from the beginning of the block on, whenever it is read."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield listener.changes()
        finally:
            self._listeners.discard(listener)

    def _say(self, change: Change) -> None:
        for listener in self._listeners:
            try:
                listener.waiting.put_nowait(change)
            except asyncio.QueueFull:
                listener.lost = True


def _bounded(attributes: Mapping[str, str], left: int = _TEXTS) -> dict[str, str]:
    """As many as fit."""
    found = {}
    for key, value in attributes.items():
        left -= len(key) + len(value)
        if left >= 0:
            found[key] = frontend.redacted(value)
    return found


def _written(paths: Sequence[Path], data: Sequence[bytes]) -> None:
    paths[0].parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, body in zip(paths, data):
        part = path.with_name(f"{path.name}.part")
        with open(part, "xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
