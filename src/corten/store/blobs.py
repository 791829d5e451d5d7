"""Content-addressed blobs: `blobs/ALGORITHM/HEX`, immutable, and `ingest/HEX.part` while they arrive.

    ingest   a file that is being written and hashed; keyed by the digest it promises, so that a later attempt (also
             of a later daemon) resumes from the byte it had
    commit   the hash is right: fsync, rename, fsync of the directory. Only then is there a blob

A part that turns out wrong is deleted; a blob that is there was verified once and is durable.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from corten.errors import Corrupt, CortenError, Exhausted, Failed, NotFound
from corten.kernel.sync import sync_directory
from corten.spec import digest as digests

_CHUNK = 1 << 20


class Ingest:
    """One blob that is being written. `write` and `commit` block on the disk: call them in a thread.

    `rounds` counts the restarts; `grown` is notified when `offset`, `verified` or `closed` has changed. The part is at
    `path` until it is committed.
    """

    def __init__(self, blobs: Blobs, part: Path, digest: str | None) -> None:
        self._blobs = blobs
        self.path = part
        self.expected = digest
        # What a client sent, and a small blob, are never resumed: they get an old mtime, so that the next start removes
        # them if the daemon is killed before an image has them.
        self.passing = digest is None
        self._hash: Any = digests.hasher(digest or "sha256:" + "0" * 64)
        self.rounds = 0
        self.verified = self.closed = False
        self.grown = threading.Condition()
        self._lock = threading.RLock()  # a cancelled caller may close while a thread still writes
        self._fd = _held(part)
        blobs.in_use.add(part.name)
        try:
            self.offset = self._resume()
        except BaseException:
            self.close()
            raise

    def _resume(self) -> int:
        offset = 0
        while chunk := os.pread(self._fd, _CHUNK, offset):
            self._hash.update(chunk)
            offset += len(chunk)
        os.lseek(self._fd, offset, os.SEEK_SET)
        return offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`. What was written stays for a later attempt.

        Raises Exhausted on a full disk, Failed on an error.
        """
        view = memoryview(data)
        with self._lock:
            try:
                while view:
                    done = os.write(self._fd, view)
                    self._hash.update(view[:done])
                    self.offset += done
                    view = view[done:]
                    self._notify()
            except OSError as error:
                raise _disk_error(error, self.path) from error

    def restart(self) -> None:
        """Discard what was written so far."""
        self.rounds += 1
        try:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        except OSError as error:
            raise _disk_error(error, self.path) from error
        self._hash = digests.hasher(self.expected or "sha256:" + "0" * 64)
        self.offset = 0
        self._notify()

    def _notify(self) -> None:
        with self.grown:
            self.grown.notify_all()

    @property
    def digest(self) -> str:
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def commit(self) -> str:
        """Make it a blob; returns its digest.

        Raises Corrupt, and removes the part, when that is not the expected one.
        """
        digest = self.digest
        if self.expected not in (None, digest):
            self.abort()
            raise Corrupt(f"digest mismatch: wanted {self.expected}, got {digest}")
        path = self._blobs.path(digest)
        self.verified = True
        self._notify()
        self._lock.acquire()
        try:
            os.fchmod(self._fd, 0o444)
            if self.passing:
                os.utime(self._fd, (0, 0))
            os.fsync(self._fd)
            os.rename(self.path, path)
            sync_directory(path.parent)
        except OSError as error:
            raise _disk_error(error, self.path) from error
        finally:
            self.close()
            self._lock.release()
        return digest

    def close(self) -> None:
        """Stop here; the part stays and can be resumed. Idempotent."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self._blobs.in_use.discard(self.path.name)
        self.closed = True
        self._notify()

    def abort(self) -> None:
        """Stop here and keep nothing."""
        self.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """All methods are safe to call from any thread; two ingests of one digest at a time are the caller's to prevent."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ingest = root / "ingest"
        self.in_use: set[str] = set()  # parts that an ingest has open
        self._watchers: dict[str, list[Callable[[Ingest], None]]] = {}
        for directory in (root / "blobs" / "sha256", root / "blobs" / "sha512", self._ingest):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        algorithm, value = digests.split(digest)
        return self.root / "blobs" / algorithm / value

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError as error:
            raise NotFound(f"no such blob: {digest}") from error

    def open(self, digest: str) -> int:
        """A read-only descriptor; the caller closes it."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"no such blob: {digest}") from error

    def read(self, digest: str, limit: int) -> bytes:
        """A small blob, verified again.

        Raises Corrupt when it is larger than `limit` bytes or not what it claims to be.
        """
        fd = self.open(digest)
        with os.fdopen(fd, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit or digests.of(data, digests.split(digest)[0]) != digest:
            raise Corrupt(f"blob {digest} is damaged; pull or load the image again")
        return data

    def ingest(self, digest: str | None = None) -> Ingest:
        """Begin, or resume when `digest` was begun before. None: a blob whose digest is not known yet."""
        name = digest.replace(":", "-") if digest else "new-" + secrets.token_hex(8)
        ingest = self._begin(name, digest and digests.check(digest))
        for watcher in tuple(self._watchers.get(digest or "", ())):
            watcher(ingest)
        return ingest

    def _begin(self, name: str, digest: str | None) -> Ingest:
        try:
            return Ingest(self, self._ingest / f"{name}.part", digest)
        except OSError as error:
            raise _disk_error(error, self._ingest) from error

    @contextmanager
    def watch(self, wanted: Iterable[str], watcher: Callable[[Ingest], None]) -> Iterator[None]:
        """Meanwhile `watcher` is called with each ingest of one of the digests, in the thread that begins it."""
        names = set(wanted)
        for digest in names:
            self._watchers.setdefault(digest, []).append(watcher)
        try:
            yield
        finally:
            for digest in names:
                self._watchers[digest].remove(watcher)
                if not self._watchers[digest]:
                    del self._watchers[digest]

    def put(self, data: bytes, digest: str | None = None) -> str:
        """Store a small blob; returns its digest. Others may store the same one at the same time."""
        name = digest or digests.of(data)
        if self.has(name):
            return name
        ingest = self._begin(f"new-{secrets.token_hex(8)}", digests.check(name))
        ingest.passing = True
        try:
            ingest.write(data)
            return ingest.commit()
        except BaseException:
            ingest.abort()
            raise

    def set_aside(self, digest: str) -> Path | None:
        """Rename a blob away at once; `erase` frees its bytes. None when it is absent."""
        aside = self._ingest / f"new-{secrets.token_hex(8)}.gone"  # swept at the next start, as parts of this name are
        self.in_use.add(aside.name)
        try:
            os.rename(self.path(digest), aside)
        except FileNotFoundError:
            self.in_use.discard(aside.name)
            return None
        return aside

    def erase(self, aside: Path) -> int:
        """Delete what `set_aside` returned; bytes freed. Slow for large blobs."""
        try:
            size = aside.stat().st_size
            aside.unlink()
        finally:
            self.in_use.discard(aside.name)
        return size

    def remove(self, digest: str) -> int:
        """Remove a blob; returns the bytes freed, 0 when it is absent."""
        aside = self.set_aside(digest)
        return 0 if aside is None else self.erase(aside)

    def time(self, digest: str) -> float:
        """When it was stored, in seconds since the epoch; 0 when it is absent, or not to be kept without an image."""
        with suppress(FileNotFoundError):
            return self.path(digest).stat().st_mtime
        return 0.0

    def list(self) -> Iterator[str]:
        for algorithm in ("sha256", "sha512"):
            for name in os.listdir(self.root / "blobs" / algorithm):
                if digests.is_digest(f"{algorithm}:{name}"):
                    yield f"{algorithm}:{name}"

    def verify(self, digest: str, stopped: Callable[[], bool] = lambda: False) -> bool | None:
        """Read the whole blob; whether its content has its digest.

        None when it is absent, or when `stopped` returned true.
        """
        hash_ = digests.hasher(digest)
        try:
            fd = self.open(digest)
        except NotFound:
            return None
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while piece := os.read(fd, _CHUNK):
                hash_.update(piece)
                if stopped():
                    return None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False  # the disk cannot read it
        finally:
            os.close(fd)
        return f"{hash_.name}:{hash_.hexdigest()}" == digest

    def parts(self) -> Sequence[tuple[str, float]]:
        """(name, seconds since the epoch of the last write) of each part."""
        found = []
        for part in self._ingest.iterdir():
            with suppress(FileNotFoundError):
                found.append((part.name, part.stat().st_mtime))
        return found

    def remove_parts(self, older_than: float) -> int:
        """Remove parts without a write for so many seconds, unless they are in use. Bytes freed."""
        freed = 0
        limit = time.time() - older_than
        for part in self._ingest.iterdir():
            with suppress(FileNotFoundError):
                status = part.stat()
                if status.st_mtime <= limit and part.name not in self.in_use and _swept(part, limit):
                    freed += status.st_size
        return freed

    def forget(self, digest: str) -> None:
        """Remove the part of a blob, unless it is in use."""
        name = digests.check(digest).replace(":", "-") + ".part"
        if name not in self.in_use:
            (self._ingest / name).unlink(missing_ok=True)

    def sweep(self) -> None:
        """At start: remove parts of unknown digest, which cannot be resumed. The others are kept for the next pull."""
        for part in self._ingest.iterdir():
            if part.name.startswith("new-"):
                part.unlink(missing_ok=True)


def _held(part: Path) -> int:
    """Open or make a part for writing, with a shared flock(2): other processes sweep only parts without one."""
    while True:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            if os.fstat(fd).st_nlink:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was swept just now


def _swept(part: Path, limit: float) -> bool:
    """Remove a part; False when it is being written, or was since `limit`."""
    fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(fd)
        if status.st_mtime > limit or not os.path.samestat(status, part.stat()):
            return False
        part.unlink()
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def _disk_error(error: OSError, path: Path) -> CortenError:
    """An error of this disk as one of ours: among those of a connection it would pass for the registry's."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Exhausted(f"no space left on device, writing {path}; free some disk or remove images")
    return Failed(f"cannot write {path}: {error.strerror or error}")
