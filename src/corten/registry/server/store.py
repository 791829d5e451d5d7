"""What a registry keeps: blobs, manifests, tags. Methods block on the disk: call them in a thread.

Whatever needs a link or a manifest touches it, and whatever links or unlinks does so under `guard`: this is what lets
a collector, of this process or another one, work while pushes go on (collect.py). Every file is written aside, synced
and renamed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from corten.errors import Corrupt, Invalid, NotFound
from corten.kernel.sync import sync_directory
from corten.registry.server.layout import Guard, Layout, full_disk, mark, place, stage, used
from corten.registry.server.names import check_tag
from corten.registry.server.uploads import UNKNOWN, Upload, Uploads, new_id
from corten.spec import digest as digests
from corten.spec import go_json

NO_BLOB = "blob unknown to registry"
NO_MANIFEST = "manifest unknown"
NO_REPOSITORY = "repository name not known to registry"


@dataclass(frozen=True, slots=True)
class Manifest:
    digest: str
    media_type: str
    body: bytes


class MissingBlob(NotFound):
    """A manifest needs a blob that its repository does not have."""


class Ledger(Protocol):
    """The account of what repositories have, and of what is reserved for uploads and downloads by id.

    `admit`, `linked`, `unlinked` and `tagged` are called under the guard; all but `tagged` may be called twice.
    """

    def admit(self, repository: str, digest: str, size: int, tags: int = 0) -> None:
        """Check a blob and so many new tags. Raises Forbidden when they are too much."""

    def linked(self, repository: str, digest: str, size: int) -> None: ...

    def unlinked(self, repository: str, digest: str) -> None: ...

    def tagged(self, repository: str, tags: int) -> None:
        """Count so many tags more; fewer when negative."""

    def room(self, repository: str, id: str, size: int) -> None:
        """Check `size` bytes in all. Raises Forbidden when `reserve` would. Blocks: call it in a thread."""

    def reserve(self, repository: str, id: str, size: int) -> None:
        """Reserve `size` bytes in all. Raises Forbidden, and changes nothing, when they are too much. Blocks."""

    def release(self, id: str) -> None:
        """Release the reservation: it was aborted, or counts as a blob from now on. Blocks."""


class NoLedger:
    def admit(self, repository: str, digest: str, size: int, tags: int = 0) -> None:
        return

    def linked(self, repository: str, digest: str, size: int) -> None:
        return

    def unlinked(self, repository: str, digest: str) -> None:
        return

    def tagged(self, repository: str, tags: int) -> None:
        return

    def room(self, repository: str, id: str, size: int) -> None:
        return

    def reserve(self, repository: str, id: str, size: int) -> None:
        return

    def release(self, id: str) -> None:
        return


class Store:
    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.make()
        self.guard = Guard(root)
        self.uploads = Uploads(self.layout)
        self.ledger: Ledger = NoLedger()

    # ------------------------------------------------------------------------------------------------------ blobs

    def has_blob(self, repository: str, digest: str) -> bool:
        return self.layout.link(repository, digest).exists() and self.layout.blob(digest).exists()

    def need_blob(self, repository: str, digest: str) -> bool:
        """`has_blob` before a push of a manifest with it: the collector keeps it for the grace period."""
        with self.guard:
            found = self.has_blob(repository, digest)
            if found:
                mark(self.layout.link(repository, digest))
            return found

    def mount(self, repository: str, digest: str, sources: Iterable[str]) -> str:
        """Give `repository` a blob that one of `sources` has; which one, "" when none has it."""
        for source in sources:
            with self.guard:
                if self.has_blob(source, digest):
                    self.link(repository, digest)
                    return source
        return ""

    def link(self, repository: str, digest: str, reserved: str = "") -> None:
        """Give `repository` a blob whose content is there, and release the reservation `reserved`.

        Raises NotFound without the content, Forbidden when it is too much.
        """
        with self.guard:
            self.ledger.release(reserved)
            try:
                size = self.layout.blob(digest).stat().st_size
                self.ledger.admit(repository, digest, size)
                used(self.layout.blob(digest))
            except FileNotFoundError:
                raise NotFound(NO_BLOB) from None
            mark(self.layout.link(repository, digest))
            self.ledger.linked(repository, digest, size)

    def delete_blob(self, repository: str, digest: str) -> None:
        """Remove a blob from a repository, and its content when no other has it. Raises NotFound when it has none."""
        with self.guard:
            self.unlink(repository, digest)
            self._forget(digest)

    def _forget(self, digest: str) -> None:
        """Remove content that no repository has."""
        if not any(self.layout.link(name, digest).exists() for name in self.layout.repositories()):
            self.layout.blob(digest).unlink(missing_ok=True)

    def unlink(self, repository: str, digest: str) -> None:
        try:
            self.layout.remove(self.layout.link(repository, digest))
        except FileNotFoundError:
            raise NotFound(NO_BLOB) from None
        self.ledger.unlinked(repository, digest)

    # ---------------------------------------------------------------------------------------------------- uploads

    def begin(self, repository: str, owner: str = "") -> Upload:
        """Begin an upload for the account `owner`. Raises Forbidden or TooManyUploads when there are too many."""
        id = new_id()
        self.ledger.reserve(repository, id, 0)
        try:
            return self.uploads.begin(repository, owner, id)
        except BaseException:
            self.ledger.release(id)
            raise

    def write(self, upload: Upload, data: bytes) -> None:
        """Append to an upload that the caller holds.

        Raises Forbidden before any of it is written, NotFound when aborted.
        """
        self.ledger.reserve(upload.repository, upload.id, upload.size + len(data))
        if upload.gone:  # only now: giving it up takes it out of the account last
            self.ledger.release(upload.id)
            raise NotFound(UNKNOWN)
        upload.write(data)

    def finish(self, upload: Upload, digest: str) -> None:
        """Make a held upload a blob of its repository. Raises Corrupt, and removes it, when it is not `digest`."""
        try:
            actual = upload.digest(digests.split(digest)[0])
            if actual != digest:
                raise Corrupt(f"provided digest did not match uploaded content: got {actual}")
            upload.settle()
            with self.guard:
                self._keep(upload, digest)
            sync_directory(self.layout.link(upload.repository, digest).parent)
        finally:
            self.abort(upload)

    def _keep(self, upload: Upload, digest: str) -> None:
        target = self.layout.blob(digest)
        self.ledger.release(upload.id)
        self.ledger.admit(upload.repository, digest, upload.size)
        if not target.exists():
            try:
                place(upload.path, target)
            except FileNotFoundError:
                raise NotFound(UNKNOWN) from None
            sync_directory(target.parent)
        self.link(upload.repository, digest)

    def abort(self, upload: Upload) -> None:
        self.uploads.forget(upload)
        upload.remove()
        self.ledger.release(upload.id)

    def sweep(self, older_than: float, dry_run: bool = False) -> list[tuple[str, int]]:
        """Remove uploads without a write for so many seconds: names and bytes."""
        gone = self.uploads.sweep(older_than, dry_run)
        for name, _ in () if dry_run else gone:
            self.ledger.release(name)
        return gone

    # -------------------------------------------------------------------------------------------------- manifests

    def put_manifest(self, repository: str, tag: str, manifest: Manifest, needs: Needs) -> None:
        """Store a manifest under its digest and, when there is one, a tag.

        Raises MissingBlob when one of `needs` is not in the repository."""
        digest, layout = manifest.digest, self.layout
        places = {layout.manifest(repository, digest): manifest.media_type.encode()}
        if needs.subject:
            places[layout.referrer(repository, needs.subject, digest)] = b""  # annotations would be there twice
        if tag:
            places[layout.tags(repository) / tag] = digest.encode()
        content = stage(layout.uploads, manifest.body)
        staged = {path: stage(layout.uploads, body) for path, body in places.items()}
        try:
            with self.guard:
                self._touch(repository, needs)
                new = int(bool(tag) and not (layout.tags(repository) / tag).exists())
                self.ledger.admit(repository, digest, len(manifest.body), new)
                if not layout.blob(digest).exists():
                    place(content, layout.blob(digest))
                self.link(repository, digest)  # before the manifest: unlinked content is collected
                self._untag(repository, tag, digest)
                for path, aside in staged.items():
                    place(aside, path)
                self.ledger.tagged(repository, new)
        finally:
            for aside in (content, *staged.values()):
                aside.unlink(missing_ok=True)
        for directory in {path.parent for path in (layout.blob(digest), layout.link(repository, digest), *staged)}:
            sync_directory(directory)

    def _untag(self, repository: str, tag: str, digest: str) -> None:
        """The manifest that had the tag is without one from now on: its age counts from here."""
        with suppress(NotFound, Invalid):
            former = self.tagged(repository, tag) if tag else digest
            if former != digest and (path := self.layout.manifest(repository, former)).exists():
                mark(path)

    def _touch(self, repository: str, needs: Needs) -> None:
        for digest in needs.blobs:
            if not self.has_blob(repository, digest):
                raise MissingBlob(f"{NO_BLOB}: {digest}")
        for digest in needs.blobs:
            mark(self.layout.link(repository, digest))
        for digest in (*needs.manifests, *([needs.subject] if needs.subject else [])):
            if (path := self.layout.manifest(repository, digest)).exists():
                mark(path)

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest by tag or digest. Raises NotFound."""
        try:
            digest = reference if digests.is_digest(reference) else self.tagged(repository, reference)
            media_type = self.layout.manifest(repository, digest).read_text()
            return Manifest(digest, media_type, self.layout.blob(digest).read_bytes())
        except (FileNotFoundError, NotADirectoryError, Invalid):
            raise NotFound(NO_MANIFEST) from None

    def need_manifest(self, repository: str, reference: str) -> Manifest:
        """`manifest` before a possible push of an index with it: the collector keeps it for the grace period."""
        with self.guard:
            found = self.manifest(repository, reference)
            mark(self.layout.manifest(repository, found.digest))
            return found

    def tagged(self, repository: str, tag: str) -> str:
        """The digest that a tag names. Raises NotFound."""
        try:
            return (self.layout.tags(repository) / check_tag(tag)).read_text()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(NO_MANIFEST) from None

    def used_tag(self, repository: str, tag: str) -> None:
        """A tag of a cache was asked for: as if it was pushed now."""
        with self.guard:
            if (path := self.layout.tags(repository) / tag).exists():
                mark(path)

    def delete_manifest(self, repository: str, reference: str) -> Manifest:
        """Remove a tag by its name, or a manifest with its tags by its digest; returns the manifest.

        Raises NotFound.
        """
        with self.guard:
            found = self.manifest(repository, reference)
            if not digests.is_digest(reference):
                self.untag(repository, reference)
                mark(self.layout.manifest(repository, found.digest))  # it is without a tag from now on
                return found
            for tag in self.tags_of(repository, reference):
                self.untag(repository, tag)
            self.drop(repository, reference, subject_of(found.body))
            self._forget(reference)
            return found

    def untag(self, repository: str, tag: str) -> None:
        """Remove a tag. Raises FileNotFoundError when it is absent."""
        with self.guard:
            self.layout.remove(self.layout.tags(repository) / tag)
            self.ledger.tagged(repository, -1)

    def drop(self, repository: str, digest: str, subject: str) -> None:
        """Remove a manifest that no tag names."""
        with self.guard:
            if subject:
                with suppress(FileNotFoundError):
                    self.layout.remove(self.layout.referrer(repository, subject, digest))
            self.layout.remove(self.layout.manifest(repository, digest))
            with suppress(NotFound):
                self.unlink(repository, digest)

    def tags(self, repository: str) -> list[str]:
        """The tags, sorted. Raises NotFound when there is no such repository."""
        if not self.layout.repository(repository).is_dir():
            raise NotFound(NO_REPOSITORY)
        try:
            return sorted(os.listdir(self.layout.tags(repository)))
        except FileNotFoundError:
            return []

    def tags_of(self, repository: str, digest: str) -> list[str]:
        """The tags that name a manifest."""
        with suppress(NotFound):
            return [tag for tag in self.tags(repository) if (self.layout.tags(repository) / tag).read_text() == digest]
        return []

    def check(self) -> None:
        """Write a file. Raises Exhausted on a full disk, OSError when it fails otherwise."""
        with full_disk():
            stage(self.layout.uploads, b"health").unlink()

    def close(self) -> None:
        self.guard.close()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a manifest has to have beside it (`blobs`), and what it is about: `manifests` and a `subject`, which need
    not be there."""

    blobs: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    subject: str = ""


def subject_of(body: bytes) -> str:
    """The digest of a manifest's subject; "" without one."""
    try:
        subject = go_json.document(body, "manifest").get("subject")
        return digests.check(subject["digest"]) if subject else ""
    except (KeyError, TypeError, Invalid):
        return ""
