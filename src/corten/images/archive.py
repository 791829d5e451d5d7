"""Archives that clients send: a tar, read by a thread, member by member into the blob store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from corten.errors import Invalid
from corten.layers.entries import Limits, entries
from corten.layers.header import DIRECTORY, LINK, REGULAR, SYMLINK
from corten.layers.source import Source
from corten.spec import digest as digests
from corten.spec.oci_image import MAX_MANIFEST
from corten.store.blobs import Blobs, Ingest
from corten.store.feed import Feed
from corten.store.leases import Lease

_MAX_LINKS = 8
_ROOM = 128 << 20  # bytes of all names and targets, each with what is kept beside it: they compress a thousand times
_EACH = 512
_DOCUMENTS = ("manifest.json", "index.json", "oci-layout")


def reader_of(pieces: Iterator[bytes]) -> Callable[[memoryview], int]:
    """An origin for `Source`."""
    rest = memoryview(b"")

    def read(view: memoryview) -> int:
        nonlocal rest
        while not rest:
            piece = next(pieces, None)
            if piece is None:
                return 0
            rest = memoryview(piece)
        count = min(len(view), len(rest))
        view[:count] = rest[:count]
        rest = rest[count:]
        return count

    return read


class Archive:
    """What was in a tar: files as blobs by their name, small documents as bytes, links by their name.

    No name of the archive is ever a path of ours. `began` is called with each file and its size in bytes.
    """

    def __init__(self, blobs: Blobs, lease: Lease, began: Callable[[Ingest, int], None]) -> None:
        self._blobs = blobs
        self._lease = lease
        self._began = began
        self._links: dict[str, str] = {}
        self._room = _ROOM
        self.files: dict[str, str] = {}
        self.documents: dict[str, bytes] = {}
        self.new: set[str] = set()

    def read(self, feed: Feed) -> None:
        """Store the whole tar.

        Raises Invalid for what is no archive of images, Exhausted when the disk is full, Corrupt when the body breaks
        off.
        """
        source = Source(reader_of(feed.decoded()))
        for entry in entries(source, Limits()):
            if entry.type != DIRECTORY:
                self._keep(len(entry.name) + len(entry.link))
            name = _clean(entry.name.decode(errors="surrogateescape"))
            if entry.type in (SYMLINK, LINK):
                target = entry.link.decode(errors="surrogateescape")
                above = name.rpartition("/")[0] + "/" if entry.type == SYMLINK else ""
                self._links[name] = _clean(above + target)
            elif entry.type == REGULAR and name in _DOCUMENTS:
                if entry.size > MAX_MANIFEST:
                    raise Invalid(f"{name} is larger than {MAX_MANIFEST} bytes")
                self.documents[name] = source.exactly(entry.size)
            elif entry.type == REGULAR and entry.parts is None:
                self.files[name] = self._blob(source, name, entry.size)
        source.drain()

    def _keep(self, length: int) -> None:
        """Names of so many bytes are kept to the end. Raises Invalid when there are too many."""
        self._room -= length + _EACH
        if self._room < 0:
            raise Invalid(f"archive has too many members: more than {_ROOM} bytes of names")

    def _blob(self, source: Source, name: str, size: int) -> str:
        folder, _, value = name.rpartition("/")
        digest = f"{folder.rpartition('/')[2]}:{value}" if folder.startswith("blobs/") else ""
        if digests.is_digest(digest):
            self._lease.add("blob", digest)
            if self._blobs.has(digest):
                source.skip(size)
                return digest
        # Written under a name of its own: a pull may be fetching the very same blob.
        ingest = self._blobs.ingest()
        self._began(ingest, size)
        try:
            found = self._fill(ingest, source, size)
        except BaseException:
            ingest.abort()
            raise
        if digests.is_digest(digest) and digest.startswith("sha256:") and found != digest:
            raise Invalid(f"archive member {name} is not what its name says")
        return found

    def _fill(self, ingest: Ingest, source: Source, size: int) -> str:
        for piece in source.pieces(size):
            ingest.write(piece)
        self._lease.add("blob", ingest.digest)
        self.new.add(ingest.digest)
        if self._blobs.has(ingest.digest):
            digest = ingest.digest
            ingest.abort()
            return digest
        return ingest.commit()

    def look_up(self, name: str) -> str | None:
        """The digest of a member, links followed; None when it is not in the archive."""
        current = _clean(name)
        for _ in range(_MAX_LINKS):
            if current in self.files:
                return self.files[current]
            if current not in self._links:
                break
            current = self._links[current]
        return None

    def find(self, name: str) -> str:
        """As `look_up`. Raises Invalid when it is not in the archive."""
        digest = self.look_up(name)
        if digest is None:
            raise Invalid(f"archive has no {name[:200]!r}, which its manifest names")
        return digest


def _clean(name: str) -> str:
    """A member's name without `.` and `..`; it is only ever compared with others."""
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
