"""The tar of a tree as `pack.Packer` sends it, from a process that is not believed: a guest's agent.

    archive = Checked(b"etc")           # all of it is called that, or is below it; b"" for what has no name
    for piece in pieces:
        pass_on(archive.feed(piece))
    archive.end()

A client unpacks it as its user, where a name that leads out of its directory leads into that user's files: by a link
that comes before it, by "..", or beside what was asked for. In the tar of a tree each directory comes before what is in
it, and what is in it comes in order and at once. So no name comes twice and none is below anything but a directory, of
which only the open ones are remembered; links are, as the target of a hard link may be anything that came before. What
is passed on has headers of our own: no reader sees another archive than this one.
"""

from __future__ import annotations

import os

from corten.errors import Corrupt, Invalid
from corten.layers import header as tar
from corten.layers import write
from corten.layers.header import BLOCK, Header
from corten.layers.limits import LONGEST_PATH, quoted

_MOST_RECORDS = 1 << 20  # bytes of PAX records of one entry
_MOST_LINKS = 1 << 20
_XATTR, _SPARSE = b"SCHILY.xattr.", b"GNU.sparse."
_KINDS = (tar.REGULAR, tar.LINK, tar.SYMLINK, tar.CHAR, tar.BLOCK_DEVICE, tar.DIRECTORY, tar.FIFO)


class Checked:
    def __init__(self, base: bytes) -> None:
        self._base = b"" if base == b"." else base
        self._buffer = bytearray()
        self._content = 0  # bytes of the last entry that are still to come
        self._open: list[bytes] = []  # the directory that is open
        self._last: list[bytes] = []  # in each of those around it, and in it
        self._links: set[int] = set()  # hashes of names
        self._begun = self._ended = False

    def feed(self, data: bytes) -> bytes:
        """What can be passed on. Raises Corrupt for what no tree is sent as."""
        self._buffer += data
        out = bytearray()
        try:
            while not self._ended and self._step(out):
                pass
        except Invalid as error:
            raise Corrupt(f"the guest sends no proper archive: {error}") from error
        if self._ended:
            if any(self._buffer):
                raise Corrupt("the guest sends more than an archive")
            out += self._buffer
            self._buffer.clear()
        return bytes(out)

    def end(self) -> None:
        """Nothing more comes. Raises Corrupt when something has to."""
        if self._content or not self._ended:
            raise Corrupt("the guest has sent half an archive")

    def _step(self, out: bytearray) -> bool:
        """Whether there may be more to be done."""
        if self._content:
            some = min(self._content, len(self._buffer))
            out += self._buffer[:some]
            del self._buffer[:some]
            self._content -= some
            return not self._content
        records: dict[bytes, bytes] = {}
        head, at = self._block(0), BLOCK
        if head is not None and head.type == tar.PAX:
            if head.size > _MOST_RECORDS:
                raise Corrupt("the guest sends an entry with too much about it")
            at += _padded(head.size)
            if len(self._buffer) < at + BLOCK:
                return False
            records = tar.parse_pax(bytes(self._buffer[BLOCK : BLOCK + head.size])).records
            head, at = self._block(at), at + BLOCK
            if head is None:
                raise Corrupt("the guest sends half an entry")
        if head is None:
            self._ended = len(self._buffer) >= BLOCK
            return False
        del self._buffer[:at]
        out += self._entry(head, records)
        return True

    def _block(self, at: int) -> Header | None:
        """None for the end mark, and when it is not there yet."""
        return tar.parse_header(bytes(self._buffer[at : at + BLOCK])) if len(self._buffer) >= at + BLOCK else None

    def _entry(self, head: Header, records: dict[bytes, bytes]) -> bytes:
        sparse = b"GNU.sparse.realsize" in records
        name = records.get(b"GNU.sparse.name" if sparse else b"path", head.name)
        link = records.get(b"linkpath", head.link) if head.type in (tar.LINK, tar.SYMLINK) else b""
        size = tar.decimal(records[b"size"]) if b"size" in records else head.size
        if head.type not in _KINDS or b"\0" in name + link or (size and head.type != tar.REGULAR):
            raise Corrupt(f"the guest sends what is in no tree: {quoted(name)}")
        self._place(name, head.type)
        if head.type == tar.SYMLINK:
            self._links.add(hash(self._path(name)))
            if len(self._links) > _MOST_LINKS:
                raise Corrupt(f"the guest sends more than {_MOST_LINKS} links")
        elif head.type == tar.LINK:
            self._check_target(link)
        self._content = _padded(size)
        return write.header(
            name,
            head.type,
            mode=head.mode,
            uid=tar.decimal(records[b"uid"]) if b"uid" in records else head.uid,
            gid=tar.decimal(records[b"gid"]) if b"gid" in records else head.gid,
            size=size,
            mtime=tar.seconds(records[b"mtime"]) if b"mtime" in records else head.mtime * 10**9,
            link=link,
            major=head.major,
            minor=head.minor,
            xattrs={key.removeprefix(_XATTR): value for key, value in records.items() if key.startswith(_XATTR)},
            real=tar.decimal(records[b"GNU.sparse.realsize"]) if sparse else None,
        )

    def _path(self, name: bytes) -> bytes:
        return b"/".join(self._parts(name))

    def _parts(self, name: bytes) -> list[bytes]:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        beside = self._base and (name[:1] == b"/" or parts[:1] != [self._base])
        if beside or b".." in parts or len(name) > LONGEST_PATH:
            raise Corrupt(f"the guest sends what was not asked for: {quoted(name)}")
        return parts

    def _place(self, name: bytes, kind: bytes) -> None:
        *above, last = self._parts(name) or [b""]
        depth = len(above)
        if not last and (self._begun or kind != tar.DIRECTORY):
            raise Corrupt("the guest sends a tree in another one")
        if above != self._open[:depth] or (depth < len(self._last) and last <= self._last[depth]):
            raise Corrupt(f"the guest sends what is in no tree, or not there: {quoted(name)}")
        self._begun = True
        if last:
            self._last[depth:] = [last]
            self._open = [*above, last] if kind == tar.DIRECTORY else above

    def _check_target(self, link: bytes) -> None:
        """Of a hard link: no link leads there. That it came before its client finds out."""
        parts = self._parts(link)
        if not parts or any(hash(b"/".join(parts[:count])) in self._links for count in range(1, len(parts))):
            raise Corrupt(f"the guest sends a link to what is in no tree: {quoted(link)}")


def base_of(path: str) -> bytes:
    """What is at a path is called so in its tar (`supervisor.trees.fetch`)."""
    raw, parts = os.fsencode(path), list[bytes]()
    for part in raw.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    if parts and not raw.endswith((b"/", b"/.")):
        return parts[-1]
    last = raw.rstrip(b"/").rpartition(b"/")[2]
    return b"" if last == b".." else last


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
