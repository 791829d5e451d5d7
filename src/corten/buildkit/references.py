"""LLBBridge's calls about references: results of builds and of definitions, as trees that a client looks into."""

from __future__ import annotations

from collections.abc import Callable

from corten.build.contract import Entry, Looks, Tree
from corten.errors import Invalid, NotFound
from corten.http2.grpc import LARGEST, Call, Function
from corten.spec.dockerfile import glob
from corten.spec.protobuf import gateway as m
from corten.spec.protobuf.session import Stat

_MOST = LARGEST - (1 << 16)  # bytes of a file in one message
_LONGEST = 4096  # characters of a path


class References:
    """`looks` is made for the first call."""

    def __init__(self, looks: Callable[[], Looks]) -> None:
        self._looks = looks
        self._trees: dict[str, Tree] = {}

    def add(self, id: str, tree: Tree) -> None:
        self._trees[id] = tree

    def remove(self, id: str) -> None:
        self._trees.pop(id, None)

    def check(self, id: str) -> None:
        """Raises NotFound for what is no reference."""
        self._tree(id)

    def functions(self, prefix: str) -> dict[str, Function]:
        return {
            prefix + "ReadFile": self.read_file,
            prefix + "ReadDir": self.read_dir,
            prefix + "StatFile": self.stat_file,
        }

    async def read_file(self, call: Call) -> bytes:
        request = m.ReadFileRequest.decode(await call.request())
        tree, path = self._tree(request.ref), _path(request.path)
        wanted = request.range or m.FileRange(0, _MOST + 1)
        if wanted.offset < 0 or wanted.length < 0:
            raise Invalid("invalid range of a file")
        data = await self._looks().content(tree, path, wanted.offset, min(wanted.length, _MOST + 1))
        if len(data) > _MOST:
            raise Invalid(f"{path} has more than {_MOST} bytes: ask for a range of it")
        return m.ReadFileResponse(data).encode()

    async def read_dir(self, call: Call) -> bytes:
        request = m.ReadDirRequest.decode(await call.request())
        tree, chosen = self._tree(request.ref), _chosen(_path(request.pattern))
        entries = await self._looks().entries(tree, _path(request.path))
        return m.ReadDirResponse([_stat(each) for each in entries if chosen(each.name)]).encode()

    async def stat_file(self, call: Call) -> bytes:
        request = m.StatFileRequest.decode(await call.request())
        return m.StatFileResponse(
            _stat(await self._looks().stat(self._tree(request.ref), _path(request.path)))
        ).encode()

    def _tree(self, id: str) -> Tree:
        if id not in self._trees:
            raise NotFound(f"the result {id[:100]!r} is not here any more")
        return self._trees[id]


def _path(path: str) -> str:
    if len(path) > _LONGEST or "\0" in path:
        raise Invalid(f"invalid path: {path[:100]!r}")
    return path


def _chosen(pattern: str) -> Callable[[str], bool]:
    """Of names, by a pattern of Go's filepath.Match."""
    if not pattern:
        return lambda name: True
    try:
        found = glob.names(pattern)
    except ValueError as error:
        raise Invalid(f"invalid pattern {pattern[:100]!r}: {error}") from None
    return found[0].matches if len(found) == 1 else lambda name: False


def _stat(entry: Entry) -> Stat:
    return Stat(entry.name, entry.mode, entry.uid, entry.gid, entry.size, entry.modified, entry.link)
