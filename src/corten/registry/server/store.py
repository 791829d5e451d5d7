"""What a registry keeps, as files. Blobs are shared by all repositories; a repository holds links to what it has.

    blobs/ALGORITHM/HEX                            content, immutable
    repositories/NAME/_blobs/ALGORITHM/HEX         empty: this repository has that blob
    repositories/NAME/_manifests/ALGORITHM/HEX     the manifest's media type
    repositories/NAME/_tags/TAG                    the digest that the tag names
    repositories/NAME/_referrers/ALGORITHM/HEX/D   manifest D's descriptor (`:` as `-`); HEX is its subject
    uploads/ID                                     a blob on its way

Names are checked against the specification's grammar before they are paths, and no component of one begins with `_`.
Every file is written aside, synced and renamed. Methods block on the disk: call them in a thread.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corten.errors import Corrupt, Exhausted, Invalid, NotFound
from corten.spec import digest as digests
from corten.store.blobs import sync_directory

Json = dict[str, Any]
NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_ID = re.compile(r"[0-9a-f]{32}")
MAX_NAME = 255
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    digest: str
    media_type: str
    body: bytes


class Upload:
    """A blob on its way: bytes are appended and hashed as they come. One request at a time has it."""

    def __init__(self, path: Path, id: str, repository: str) -> None:
        self.path = path
        self.id = id
        self.repository = repository
        self.busy = False
        self._hash: Any = digests.hasher("sha256:" + "0" * 64)
        self.size = 0
        with suppress(FileNotFoundError), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._hash.update(chunk)
                self.size += len(chunk)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

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

    def finish(self, target: Path) -> None:
        with full_disk():
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)
            self.close()
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.path, target)
            sync_directory(target.parent)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def abort(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".repository").unlink(missing_ok=True)


class full_disk:
    """Exhausted instead of ENOSPC."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Exhausted("no space left on device") from error


class Store:
    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("blobs/sha256", "blobs/sha512", "repositories", "uploads"):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------------------------------------ blobs

    def blob_path(self, digest: str) -> Path:
        algorithm, value = digests.split(digest)
        return self._root / "blobs" / algorithm / value

    def has_blob(self, repository: str, digest: str) -> bool:
        return self._link(repository, digest).exists() and self.blob_path(digest).exists()

    def open_blob(self, repository: str, digest: str) -> int:
        """A descriptor, the caller's. NotFound."""
        if self._link(repository, digest).exists():
            with suppress(FileNotFoundError):
                return os.open(self.blob_path(digest), os.O_RDONLY | os.O_CLOEXEC)
        raise NotFound("blob unknown to registry")

    def mount(self, repository: str, digest: str, source: str = "") -> bool:
        """Give `repository` a blob that `source` has ("": any repository)."""
        there = self.has_blob(source, digest) if source else self.blob_path(digest).exists()
        if there:
            self._write(self._link(repository, digest), b"")
        return there

    def delete_blob(self, repository: str, digest: str) -> None:
        """NotFound. The content goes when no other repository has it."""
        with self._lock:
            try:
                self._link(repository, digest).unlink()
            except FileNotFoundError:
                raise NotFound("blob unknown to registry") from None
            if not any(self._link(name, digest).exists() for name in self.repositories()):
                self.blob_path(digest).unlink(missing_ok=True)

    def _link(self, repository: str, digest: str) -> Path:
        algorithm, value = digests.split(digest)
        return self._directory(repository) / "_blobs" / algorithm / value

    def _directory(self, repository: str) -> Path:
        return self._root / "repositories" / check_name(repository)

    # ---------------------------------------------------------------------------------------------------- uploads

    def begin(self, repository: str) -> Upload:
        check_name(repository)
        id = secrets.token_hex(16)
        path = self._root / "uploads" / id
        with full_disk():
            path.with_suffix(".repository").write_text(repository)
            upload = Upload(path, id, repository)
        with self._lock:
            self._uploads[id] = upload
        return upload

    def upload(self, repository: str, id: str) -> Upload:
        """One that was begun, also before a restart. NotFound."""
        with self._lock:
            found = self._uploads.get(id)
            if found is None and _ID.fullmatch(id):
                path = self._root / "uploads" / id
                with suppress(FileNotFoundError):
                    found = Upload(path, id, path.with_suffix(".repository").read_text())
                    self._uploads[id] = found
            if found is None or found.repository != repository:
                raise NotFound("blob upload unknown to registry")
            return found

    def finish(self, upload: Upload, digest: str) -> None:
        """Make it a blob of its repository. Corrupt, and it is gone, when it is not `digest`."""
        actual = upload.digest(digests.split(digest)[0])
        self._forget(upload)
        if actual != digest:
            upload.abort()
            raise Corrupt(f"provided digest did not match uploaded content: got {actual}")
        with self._lock:
            target = self.blob_path(digest)
            if target.exists():
                upload.abort()
            else:
                upload.finish(target)
                upload.path.with_suffix(".repository").unlink(missing_ok=True)
            self._write(self._link(upload.repository, digest), b"")

    def abort(self, upload: Upload) -> None:
        self._forget(upload)
        upload.abort()

    def _forget(self, upload: Upload) -> None:
        with self._lock:
            self._uploads.pop(upload.id, None)

    # -------------------------------------------------------------------------------------------------- manifests

    def put_manifest(self, repository: str, reference: str, media_type: str, body: bytes, algorithm: str) -> str:
        """Keep a manifest under its digest and, when `reference` is one, a tag. Its digest."""
        digest = digests.of(body, algorithm)
        with self._lock:
            path = self.blob_path(digest)
            if not path.exists():
                self._write(path, body)
            self._write(self._link(repository, digest), b"")
            self._write(self._manifest(repository, digest), media_type.encode())
            if not digests.is_digest(reference):
                self._write(self._tags(repository) / reference, digest.encode())
        return digest

    def manifest(self, repository: str, reference: str) -> Manifest:
        """By tag or digest. NotFound."""
        try:
            digest = reference
            if not digests.is_digest(reference):
                digest = (self._tags(repository) / check_tag(reference)).read_text()
            media_type = self._manifest(repository, digest).read_text()
            return Manifest(digest, media_type, self.blob_path(digest).read_bytes())
        except (FileNotFoundError, NotADirectoryError, Invalid):
            raise NotFound("manifest unknown") from None

    def delete_manifest(self, repository: str, reference: str) -> None:
        """A tag by its name; a manifest, with its tags, by its digest. NotFound."""
        with self._lock:
            found = self.manifest(repository, reference)
            if not digests.is_digest(reference):
                (self._tags(repository) / reference).unlink()
                return
            for tag in self.tags(repository):
                path = self._tags(repository) / tag
                if path.read_text() == reference:
                    path.unlink()
            subject = subject_of(found.body)
            if subject:
                (self._referrers(repository, subject) / found.digest.replace(":", "-")).unlink(missing_ok=True)
            self._manifest(repository, reference).unlink()
            with suppress(NotFound):
                self.delete_blob(repository, reference)

    def tags(self, repository: str) -> list[str]:
        """Sorted. NotFound when there is no such repository."""
        if not self._directory(repository).is_dir():
            raise NotFound("repository name not known to registry")
        try:
            return sorted(os.listdir(self._tags(repository)))
        except FileNotFoundError:
            return []

    def _manifest(self, repository: str, digest: str) -> Path:
        algorithm, value = digests.split(digest)
        return self._directory(repository) / "_manifests" / algorithm / value

    def _tags(self, repository: str) -> Path:
        return self._directory(repository) / "_tags"

    # -------------------------------------------------------------------------------------------------- referrers

    def refer(self, repository: str, subject: str, descriptor: Json) -> None:
        path = self._referrers(repository, subject) / str(descriptor["digest"]).replace(":", "-")
        self._write(path, json.dumps(descriptor).encode())

    def referrers(self, repository: str, subject: str) -> list[Json]:
        try:
            files = sorted(self._referrers(repository, subject).iterdir())
        except FileNotFoundError:
            return []
        return [json.loads(file.read_bytes()) for file in files]

    def _referrers(self, repository: str, subject: str) -> Path:
        algorithm, value = digests.split(subject)
        return self._directory(repository) / "_referrers" / algorithm / value

    # ------------------------------------------------------------------------------------------------ all of them

    def repositories(self) -> Iterator[str]:
        """Names of those that have something, sorted."""
        return iter(sorted(self._below(self._root / "repositories", "")))

    def _below(self, directory: Path, prefix: str) -> Iterator[str]:
        names = os.listdir(directory)
        if any(name.startswith("_") for name in names):
            yield prefix
        for name in names:
            if not name.startswith("_"):
                yield from self._below(directory / name, f"{prefix}/{name}" if prefix else name)

    def _write(self, path: Path, body: bytes) -> None:
        with full_disk():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            aside = self._root / "uploads" / f"{secrets.token_hex(8)}.new"
            try:
                with aside.open("wb") as file:
                    file.write(body)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(aside, path)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise

    def close(self) -> None:
        for upload in self._uploads.values():
            upload.close()


def check_name(name: str) -> str:
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise Invalid("invalid repository name")
    return name


def check_tag(tag: str) -> str:
    if not TAG.fullmatch(tag):
        raise Invalid("invalid tag name")
    return tag


def subject_of(body: bytes) -> str:
    """The digest of a manifest's subject; "" without one."""
    try:
        subject = json.loads(body).get("subject")
        return digests.check(subject["digest"]) if subject else ""
    except (ValueError, AttributeError, KeyError, TypeError, Invalid):
        return ""
