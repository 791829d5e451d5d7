"""Online garbage collection: removes what nothing needs while pushes go on, by the server or by another process.

    1. of the content, what was last linked before the grace period
    2. each repository: tags that no rule keeps, manifests that nothing keeps (retention.py), links that no manifest
       needs. All of them only when they were last needed before the grace period
    3. of the content in 1., what no repository links to
    4. uploads without a write for a time

A push that meets a collection loses nothing. Whatever a push relies on is touched under the store's guard: the links
of blobs it asked for (HEAD), mounted or uploaded, the manifests it asked for or lists, the content it links. A removal
holds the same guard for a short time, and removes only what has not changed since it was seen. So either the push is
first and has changed it, or the removal is, and the push gets the error that the blob is not there. The grace period
is for the time between a client's question and its manifest.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from corten.errors import Conflict, Invalid
from corten.registry.server.layout import Layout, peek
from corten.registry.server.manifests import check_manifest
from corten.registry.server.retention import Keep, Node, Tag, kept, surplus
from corten.registry.server.store import Store
from corten.store.blobs import Blobs

_log = logging.getLogger(__name__)
GRACE = 3600.0
UPLOADS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Seconds. `untagged` None: a manifest without a tag stays, as a client may use its digest."""

    grace: float = GRACE
    untagged: float | None = None
    uploads: float = UPLOADS
    keep: tuple[Keep, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    kind: str  # tag, manifest, link, blob, upload
    name: str
    size: int = 0  # bytes freed

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" {self.size} bytes" if self.size else "")


@dataclass(slots=True)
class _Seen:
    """One repository as it was found."""

    tags: list[Tag] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)  # when they were touched


class Collector:
    """`between` is called when something was found and before it is removed: tests push then."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        dry_run: bool = False,
        stop: Callable[[], bool] = lambda: False,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._layout: Layout = store.layout
        self._policy = policy
        self._dry_run = dry_run
        self._stop = stop
        self._between = between
        self._now = time.time_ns()
        self._old = self._now - int(policy.grace * 1e9)

    def run(self) -> Iterator[Removed]:
        """Collect; yields what was removed. Raises Conflict when another collection is running."""
        with _alone(self._layout.root):
            content = [(d, s.st_atime_ns, s.st_size) for d, s in self._layout.blobs() if s.st_atime_ns < self._old]
            linked: set[str] = set()
            for name in sorted(self._layout.repositories()):
                if self._stop():
                    return
                yield from self._repository(name, linked)
            self._between()
            yield from self._content(content, linked)
            yield from self.uploads()
            if not self._dry_run:
                (self._layout.root / "collected").write_text(str(time.time_ns()))  # for ledgers of other processes

    # ------------------------------------------------------------------------------------------------ a repository

    def _repository(self, name: str, linked: set[str]) -> Iterator[Removed]:
        try:
            seen = self._see(name)
        except Invalid as error:
            _log.warning("nothing is taken from %s, which has a manifest that cannot be read: %s", name, error)
            linked |= {digest for digest, _ in self._layout.links(name)}
            return
        tags = surplus(name, seen.tags, self._policy.keep, self._now)
        tagged = [tag.digest for tag in seen.tags if tag not in tags]
        stay = kept(seen.nodes, tagged, [tag.digest for tag in tags], self._since, self._old)
        self._between()
        for tag in tags:
            if self._untag(name, tag):
                yield Removed("tag", f"{name}:{tag.name}")
        gone = {digest for digest, node in seen.nodes.items() if digest not in stay and self._drop(name, digest, node)}
        yield from (Removed("manifest", f"{name}@{digest}") for digest in sorted(gone))
        needed = {blob for digest, node in seen.nodes.items() if digest not in gone for blob in (digest, *node.blobs)}
        for digest, touched in seen.links.items():
            if digest in needed or touched >= self._old or not (digest in gone or self._unlink(name, digest, touched)):
                linked.add(digest)
            elif digest not in gone:
                yield Removed("link", f"{name}@{digest}")
        self._prune(name)

    @property
    def _since(self) -> int:
        """Manifests without a tag go when they were touched before this."""
        age = self._policy.untagged
        return 0 if age is None else min(self._old, self._now - int(age * 1e9))

    def _see(self, name: str) -> _Seen:
        """Links first: a manifest that comes meanwhile has touched them by then."""
        seen = _Seen()
        seen.links = {digest: status.st_mtime_ns for digest, status in self._layout.links(name)}
        for digest, status in self._layout.manifests(name):
            with suppress(FileNotFoundError):
                checked = check_manifest(peek(self._layout.blob(digest)), "")
                seen.nodes[digest] = Node(checked.blobs, checked.manifests, checked.subject, status.st_mtime_ns)
        with suppress(FileNotFoundError):
            for path in sorted(self._layout.tags(name).iterdir()):
                with suppress(FileNotFoundError):
                    seen.tags.append(Tag(path.name, path.read_text(), path.stat().st_mtime_ns))
        return seen

    def _untag(self, name: str, tag: Tag) -> bool:
        path = self._layout.tags(name) / tag.name
        with self._store.guard, suppress(FileNotFoundError):
            if path.stat().st_mtime_ns == tag.pushed:
                if not self._dry_run:
                    self._store.untag(name, tag.name)
                return True
        return False

    def _drop(self, name: str, digest: str, node: Node) -> bool:
        with self._store.guard, suppress(FileNotFoundError):
            if self._layout.manifest(name, digest).stat().st_mtime_ns == node.touched:
                if not self._dry_run:
                    self._store.drop(name, digest, node.subject)
                return True
        return False

    def _unlink(self, name: str, digest: str, touched: int) -> bool:
        path = self._layout.link(name, digest)
        with self._store.guard, suppress(FileNotFoundError):
            if path.stat().st_mtime_ns == touched:
                if not self._dry_run:
                    self._store.unlink(name, digest)
                return True
        return False

    def _remove(self, path: Path) -> bool:
        if not self._dry_run:
            path.unlink()
        return True

    def _prune(self, name: str) -> None:
        """Directories of a repository that has nothing any more, so that no list shows it."""
        top = self._layout.repository(name)
        with self._store.guard:
            own = [top / kind for kind in ("_blobs", "_manifests", "_tags", "_referrers")]
            if self._dry_run or any(path.is_file() for kind in own for path in kind.rglob("*")):
                return
            for kind in own:
                for path in [*sorted(kind.rglob("*"), reverse=True), kind]:
                    with suppress(FileNotFoundError):
                        path.rmdir()
            with suppress(OSError):  # others may lie below
                while top != self._layout.root / "repositories":
                    top.rmdir()
                    top = top.parent

    # ------------------------------------------------------------------------------------------------- all of them

    def _content(self, content: list[tuple[str, int, int]], linked: set[str]) -> Iterator[Removed]:
        for digest, seen, size in content:
            if self._stop():
                return
            if digest not in linked and self._erase(self._layout.blob(digest), seen):
                yield Removed("blob", digest, size)

    def _erase(self, path: Path, seen: int) -> bool:
        with self._store.guard, suppress(FileNotFoundError):
            return path.stat().st_atime_ns == seen and self._remove(path)
        return False

    def uploads(self) -> Iterator[Removed]:
        """Remove abandoned uploads only. Needs no lock."""
        for name, size in self._store.sweep(self._policy.uploads, self._dry_run):
            yield Removed("upload", name, size)
        if not self._dry_run and (self._layout.root / "ingest").exists():
            Blobs(self._layout.root).remove_parts(self._policy.uploads)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    fd = os.open(root / "collect.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another collection is under way") from None
        yield
    finally:
        os.close(fd)
