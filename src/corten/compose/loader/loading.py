"""One load of a project: what its files share while they are read."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from corten.compose.document import Document, Positions, Tree, Value, read
from corten.compose.errors import ComposeError
from corten.compose.loader.files import read_file
from corten.compose.loader.gopaths import joined
from corten.compose.loader.options import Options
from corten.compose.loader.remote import is_remote

FILES = 500  # read for one project: a file that is extended ten times counts ten times
WARNINGS = 200
VALUES = 600_000  # of all documents and of all services that are extended


class Scope(msgspec.Struct, frozen=True):
    """Of the files that are loaded as one: the project's own, or those of one `include`."""

    directory: str
    """Where relative paths begin, for `paths.resolved`: absolute of the project, relative to it of an include."""
    base: str
    """The same directory, absolute: where files that are named in these are looked for."""
    environment: Mapping[str, str]
    included: tuple[str, ...] = ()
    """Files whose `include` led here, outermost first."""
    resolve_paths: bool = True
    whole: bool = True
    """False of a file that is only extended: nothing is checked or completed, `extends` and `include` stay."""

    def within(self, path: str) -> str:
        """Of a file that is named here."""
        return path if path.startswith("/") else joined(self.base, path)

    def directory_of(self, path: str) -> str:
        """Of a file or directory that is named here, relative to `base`; as it is when that cannot be said."""
        place = self.within(path)
        place = place if os.path.isdir(place) else os.path.dirname(place)
        return os.path.relpath(place, self.base)


class Loading:
    """Positions of what was read last win; warnings are kept once each."""

    def __init__(self, options: Options, home: str) -> None:
        self.options = options
        self.home = home
        self.positions: Positions = {}
        self.warnings: list[str] = []
        self._contents: dict[str, list[Document]] = {}
        self._fetched: dict[str, str] = {}
        self._count = 0
        self._copies = 0
        self._said: set[str] = set()
        self._here: Positions = {}

    def documents(self, path: str, content: bytes | None = None) -> list[Document]:
        """Of a file; read once. Raises ComposeError."""
        self._count += 1
        if self._count > FILES:
            raise ComposeError(f"more than {FILES} files are read for one project", remedy="merge some of them")
        if path not in self._contents:
            self._contents[path] = read(read_file(path) if content is None else content, path)
        return self._contents[path]

    def local(self, path: str) -> str:
        """Of a file that may be remote: fetched once. Raises ComposeError for one that cannot be."""
        if not is_remote(path):
            return path
        if path not in self._fetched:
            if self.options.fetch is None:
                raise ComposeError(f"{path}: remote files are not fetched here", remedy="copy it to this machine")
            self._fetched[path] = self.options.fetch(path)
        return self._fetched[path]

    def enter(self, document: Document) -> None:
        """What is warned of from now on is in this document."""
        self._here = document.positions
        self.positions.update(document.positions)

    def warn(self, text: str, path: str = "") -> None:
        position = None
        while path and position is None:
            position = self._here.get(path) or self.positions.get(path)
            path = path.rpartition(".")[0]
        if text not in self._said and len(self._said) < WARNINGS:
            self._said.add(text)
            self.warnings.append(f"{position}: {text}" if position is not None else text)

    def copied(self, tree: Tree) -> Tree:
        """A tree of which nothing is shared. Raises ComposeError when all copies together are too many values."""
        return {key: self._copied(value) for key, value in tree.items()}

    def _copied(self, value: Value) -> Value:
        self._copies += 1
        if self._copies > VALUES:
            raise ComposeError(f"services that extend others have more than {VALUES} values")
        if isinstance(value, dict):
            return self.copied(value)
        return [self._copied(each) for each in value] if isinstance(value, list) else value
