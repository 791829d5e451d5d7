"""Unfinished uploads: begun, appended to by any number of requests, finished or aborted; also after a restart.

A request that writes holds the file by flock(2), so that a collector in another process does not remove it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from corten.errors import Conflict, Exhausted, NotFound
from corten.registry.server.layout import Layout, full_disk
from corten.registry.server.names import check_name
from corten.spec import digest as digests

_ID = re.compile(r"[0-9a-f]{32}")
_CHUNK = 1 << 20
_MOMENT = 3600.0  # seconds: temporary files beside uploads are renamed within this time
UNKNOWN = "blob upload unknown to registry"
MOST = 1000  # unfinished uploads of one account; all clients without one count together


class TooManyUploads(Exhausted):
    """An account has as many unfinished uploads as it may."""


class Upload:
    """Bytes are appended and hashed as they come. One request at a time has it, by `held`."""

    def __init__(self, path: Path, id: str, repository: str) -> None:
        self.path = path
        self.id = id
        self.repository = repository
        self._hash: Any = digests.hasher("sha256:" + "0" * 64)
        self._fd = -1
        self.gone = False  # given up, perhaps while a request has it
        self.size = 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._hash.update(chunk)
                self.size += len(chunk)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the upload for one request.

        Raises Conflict when another request holds it, NotFound when it was aborted.
        """
        if self._fd >= 0:
            raise Conflict("another request is writing to this upload")
        try:
            fd = self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(UNKNOWN) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink == 0:
                raise NotFound(UNKNOWN)
            yield
        except BlockingIOError:
            raise Conflict("this upload is being removed") from None
        finally:
            self._fd = -1
            os.close(fd)

    @property
    def busy(self) -> bool:
        return self._fd >= 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with full_disk():
            while view:
                done = os.write(self._fd, view)
                self._hash.update(view[:done])
                self.size += done
                view = view[done:]

    def digest(self, algorithm: str) -> str:
        """Of all that came. Only sha256 is hashed along the way."""
        if algorithm == "sha256":
            return "sha256:" + str(self._hash.hexdigest())
        with self.path.open("rb") as file:
            hasher = digests.hasher(f"{algorithm}:{'0' * 128}")
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
        return f"{algorithm}:{hasher.hexdigest()}"

    def settle(self) -> None:
        """On the disk for good, still under its own name."""
        with full_disk():
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)

    def remove(self) -> None:
        self.gone = True
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".repository").unlink(missing_ok=True)


class Uploads:
    """The unfinished uploads and their owners, read from the disk."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._directory = layout.uploads
        self._known: dict[str, Upload] = {}
        self._owners: dict[str, str] | None = None  # by id; None: not looked at yet
        self._lock = threading.Lock()

    def begin(self, repository: str, owner: str = "", id: str = "") -> Upload:
        """Begin an upload for the account `owner`. Raises TooManyUploads when that has as many as it may."""
        check_name(repository)
        id = id or new_id()
        self._count_in(id, owner)
        path = self._directory / id
        try:
            with full_disk():
                path.with_suffix(".repository").write_text(f"{repository}\n{owner}")
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            upload = Upload(path, id, repository)
        except BaseException:
            path.with_suffix(".repository").unlink(missing_ok=True)
            self._drop(id)
            raise
        with self._lock:
            self._known[id] = upload
        return upload

    def _count_in(self, id: str, owner: str) -> None:
        with self._lock:
            if self._owners is None or self._number(owner) >= MOST:
                self._owners = self._read_owners()  # another process may have taken some away
            if self._number(owner) >= MOST:
                whose = f"{owner} has" if owner else "clients without an account have"
                raise TooManyUploads(f"{whose} {MOST} unfinished uploads: finish or cancel some first")
            self._owners[id] = owner

    def _number(self, owner: str) -> int:
        return sum(each == owner for each in (self._owners or {}).values())

    def _read_owners(self) -> dict[str, str]:
        return {id: self._layout.upload_of(id)[1] for id, _, _ in self._layout.open_uploads()}

    def find(self, repository: str, id: str) -> Upload:
        """An unfinished upload, also one from before a restart. Raises NotFound."""
        found = self._known.get(id)
        if found is None and _ID.fullmatch(id):
            with suppress(FileNotFoundError):
                read = Upload(self._directory / id, id, self._layout.upload_of(id)[0])  # not under the lock: hashed
                with self._lock:
                    found = self._known.setdefault(id, read)
        if found is None or found.repository != repository:
            raise NotFound(UNKNOWN)
        return found

    def _drop(self, id: str) -> None:
        with self._lock:
            self._known.pop(id, None)
            if self._owners is not None:
                self._owners.pop(id, None)

    def forget(self, upload: Upload) -> None:
        self._drop(upload.id)

    def __len__(self) -> int:
        return len(self._known)

    def sweep(self, older_than: float, dry_run: bool = False) -> list[tuple[str, int]]:
        """Remove uploads without a write for so many seconds: names and bytes."""
        now = time.time()
        gone = []
        for path in sorted(self._directory.iterdir()):
            with suppress(FileNotFoundError):
                status = path.stat()
                companion = path.suffix == ".repository" and path.with_suffix("").exists()
                limit = now - (max(older_than, _MOMENT) if path.suffix else older_than)
                if status.st_mtime <= limit and not companion and (dry_run or self._remove(path, limit)):
                    gone.append((path.name, status.st_size))
        return gone

    def _remove(self, path: Path, limit: float) -> bool:
        """Remove an upload; False when a request holds it, or held it since `limit`."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_mtime > limit:
                return False
            path.unlink()
            path.with_suffix(".repository").unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        self._drop(path.name)
        return True


def new_id() -> str:
    return secrets.token_hex(16)
