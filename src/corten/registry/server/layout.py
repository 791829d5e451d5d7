"""Where a registry keeps what, as files. Blobs are shared by all repositories; a repository holds links to what it has.

    blobs/ALGORITHM/HEX                            content, immutable; its atime is when it was last linked
    repositories/NAME/_blobs/ALGORITHM/HEX         empty: this repository has that blob
    repositories/NAME/_manifests/ALGORITHM/HEX     the manifest's media type
    repositories/NAME/_tags/TAG                    the digest that the tag names
    repositories/NAME/_referrers/ALGORITHM/HEX/D   manifest D's descriptor (`:` as `-`); HEX is its subject
    uploads/ID, uploads/ID.repository              an unfinished upload, and its repository; the next line is its owner
    ingest/D.part                                  a blob that is downloaded from an upstream
    lock                                           flock(2) while links are made or removed

The mtime of a link and of a manifest is when it was last needed by a push; the collector goes by it (collect.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from corten.errors import Exhausted
from corten.registry.server.names import check_name
from corten.spec import digest as digests


class Layout:
    """Paths, and what lies there. Names are checked here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uploads = root / "uploads"

    def make(self) -> None:
        """What is made is its owner's alone, the root as well. A root that was there keeps its mode; what is in it, and
        an older version left open, is closed."""
        with suppress(FileExistsError):
            self.root.mkdir(mode=0o700, parents=True)
        for name in ("blobs", "blobs/sha256", "blobs/sha512", "repositories", "uploads"):
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        for name in ("blobs", "collected"):
            _close(self.root / name)

    def blob(self, digest: str) -> Path:
        algorithm, value = digests.split(digest)
        return self.root / "blobs" / algorithm / value

    def repository(self, name: str) -> Path:
        return self.root / "repositories" / check_name(name)

    def link(self, repository: str, digest: str) -> Path:
        return self._below(repository, "_blobs", digest)

    def manifest(self, repository: str, digest: str) -> Path:
        return self._below(repository, "_manifests", digest)

    def referrers(self, repository: str, subject: str) -> Path:
        return self._below(repository, "_referrers", subject)

    def referrer(self, repository: str, subject: str, digest: str) -> Path:
        return self.referrers(repository, subject) / digest.replace(":", "-")

    def tags(self, repository: str) -> Path:
        return self.repository(repository) / "_tags"

    def remove(self, path: Path) -> None:
        """Unlink something of a repository, and remove the directories above that have nothing else: no account counts
        them. With the guard. Raises FileNotFoundError."""
        path.unlink()
        top = self.root / "repositories"
        with suppress(OSError):  # from the first on that has something
            for above in path.parents:
                if above == top:
                    break
                above.rmdir()

    def _below(self, repository: str, kind: str, digest: str) -> Path:
        algorithm, value = digests.split(digest)
        return self.repository(repository) / kind / algorithm / value

    # --------------------------------------------------------------------------------------------- what is there

    def repositories(self) -> Iterator[str]:
        """Names of those that have something, in no order."""
        return self._walk(self.root / "repositories", "")

    def _walk(self, directory: Path, prefix: str) -> Iterator[str]:
        with suppress(FileNotFoundError):
            names = os.listdir(directory)
            if any(name.startswith("_") for name in names):
                yield prefix
            for name in names:
                if not name.startswith("_"):
                    yield from self._walk(directory / name, f"{prefix}/{name}" if prefix else name)

    def links(self, repository: str) -> Iterator[tuple[str, os.stat_result]]:
        return _digests(self.repository(repository) / "_blobs")

    def manifests(self, repository: str) -> Iterator[tuple[str, os.stat_result]]:
        return _digests(self.repository(repository) / "_manifests")

    def count_tags(self, repository: str) -> int:
        with suppress(FileNotFoundError):
            return len(os.listdir(self.tags(repository)))
        return 0

    def open_uploads(self) -> Iterator[tuple[str, str, int]]:
        """Unfinished uploads: id, repository, bytes so far."""
        for name in os.listdir(self.uploads):
            if "." not in name:
                with suppress(FileNotFoundError):
                    yield name, self.upload_of(name)[0], os.stat(self.uploads / name).st_size

    def upload_of(self, id: str) -> tuple[str, str]:
        """Repository and owner of an upload. Raises FileNotFoundError."""
        repository, _, owner = (self.uploads / f"{id}.repository").read_text().partition("\n")
        return repository, owner

    def blobs(self) -> Iterator[tuple[str, os.stat_result]]:
        return _digests(self.root / "blobs")


def _close(path: Path) -> None:
    """Others may do nothing with `path`, when it is there; the server need not be its owner."""
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & ~0o077)


def _digests(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """What lies below ALGORITHM/HEX."""
    for algorithm in ("sha256", "sha512"):
        with suppress(FileNotFoundError):
            for name in os.listdir(directory / algorithm):  # no open directory when the generator is left half-way
                with suppress(FileNotFoundError):
                    if digests.is_digest(f"{algorithm}:{name}"):
                        yield f"{algorithm}:{name}", os.stat(f"{directory}/{algorithm}/{name}")


def peek(path: Path) -> bytes:
    """A file's bytes, without changing its atime (open(2), O_NOATIME: by its owner only). Raises FileNotFoundError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
    except PermissionError:
        return path.read_bytes()
    with os.fdopen(fd, "rb") as file:
        return file.read()


class Guard:
    """One at a time, of all threads and of all processes that have the store open. May be entered again within."""

    def __init__(self, root: Path) -> None:
        self._thread = threading.RLock()
        self._depth = 0
        self._fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        self._thread.acquire()
        if self._depth == 0:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._thread.release()

    def close(self) -> None:
        with self._thread:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


class full_disk:
    """Raises Exhausted instead of ENOSPC."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Exhausted("no space left on device") from error


def stage(directory: Path, body: bytes) -> Path:
    """A synced file aside, to be renamed to its place, which takes no time."""
    aside = directory / f"{secrets.token_hex(8)}.new"
    with full_disk():
        try:
            with aside.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    return aside


def place(aside: Path, path: Path) -> None:
    with full_disk():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.rename(aside, path)


def mark(path: Path) -> None:
    """touch(1): make an empty file, or set its mtime."""
    now = time.time_ns()
    try:
        os.utime(path, ns=(now, now))
    except FileNotFoundError:
        with full_disk():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)


def used(path: Path) -> None:
    """Set the atime of content that is linked; mtime stays, as it is part of the ETag. Raises FileNotFoundError."""
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
