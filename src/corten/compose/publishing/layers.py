"""A project's files as the layers of an artifact: what they name beside themselves comes along under other names.

`extends: {file: ...}` and `env_file` of a file on this machine get the name that the file has in the artifact, the
SHA-256 of its path; the rest of a Compose file is published as it was written, comments included.
"""

from __future__ import annotations

import hashlib
import os

import msgspec

from corten.compose.document.nodes import Mapping, Scalar, Sequence
from corten.compose.document.read import nodes
from corten.compose.errors import ComposeError
from corten.compose.loader.files import read_file
from corten.compose.loader.gopaths import expanded, joined
from corten.compose.loader.remote import is_remote
from corten.compose.publishing.artifact import FILE, VARIABLES, Layer
from corten.compose.variables import dotenv
from corten.compose.variables.template import BadTemplate, Interpolation, Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from corten.compose.document.nodes import Node
    from corten.compose.model import Project


class Published(msgspec.Struct, frozen=True):
    """`files` are Compose files, first the project's own; `variables` the files of variables that they name."""

    files: tuple[Layer, ...]
    variables: tuple[Layer, ...]


class _Edit(msgspec.Struct, frozen=True, order=True):
    start: int
    end: int
    text: str


def published(project: Project) -> Published:
    """Raises ComposeError for a file that cannot be read, or includes others of this machine."""
    return _Publishing(project).all()


class _Publishing:
    def __init__(self, project: Project) -> None:
        self._project = project
        self._extended: dict[str, str] = {}  # the names of files that are extended, by path; in the order of their use
        self._variables: dict[str, str] = {}
        self._texts = Interpolation(project.environment.get)

    def all(self) -> Published:
        own = []
        for path in self._project.files:
            if path == "-":
                raise ComposeError("a project from standard input cannot be published", remedy="name a file with -f")
            own.append(Layer(FILE, os.path.basename(path), self._content(path, self._project.working_dir)))
        extended: dict[str, Layer] = {}
        while missing := [path for path in self._extended if path not in extended]:
            for path in missing:
                content = self._content(path, os.path.dirname(path))
                extended[path] = Layer(FILE, self._extended[path], content, extended=True)
        variables = (
            Layer(VARIABLES, name, read_file(path, dotenv.SIZE))
            for path, name in self._variables.items()
            if os.path.exists(path)
        )
        return Published((*own, *extended.values()), tuple(variables))

    def _content(self, path: str, directory: str) -> bytes:
        text, roots = nodes(read_file(path), path)
        edits: set[_Edit] = set()
        for root in roots:
            _refuse_includes(root)
            for service in _values(_get(root, "services")):
                edits.update(self._service(service, directory))
        for edit in sorted(edits, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        return text.encode()

    def _service(self, service: Node, directory: str) -> Iterator[_Edit]:
        base = _get(_get(service, "extends"), "file")
        if isinstance(base, Scalar) and not is_remote(base.text):
            yield self._edit(base, directory, self._extended, "yaml")
        given = _get(service, "env_file")
        for each in given.items if isinstance(given, Sequence) else [given]:
            file = each if isinstance(each, Scalar) else _get(each, "path")
            if isinstance(file, Scalar):
                yield self._edit(file, directory, self._variables, "env")

    def _edit(self, node: Scalar, directory: str, names: dict[str, str], kind: str) -> _Edit:
        try:
            text = self._texts.text(node.text)
        except (BadTemplate, Missing) as error:
            raise ComposeError(f"invalid interpolation format: {error}", node.position) from None
        place = expanded(text, self._project.environment.get("HOME", ""))
        path = place if place.startswith("/") else joined(directory, place)
        name = names.setdefault(path, f"{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()}.{kind}")
        return _Edit(node.start, node.end, name)


def _refuse_includes(root: Node) -> None:
    entries = _get(root, "include")
    for entry in entries.items if isinstance(entries, Sequence) else ():
        path = entry if isinstance(entry, Scalar) else _get(entry, "path")
        for each in path.items if isinstance(path, Sequence) else [path]:
            if isinstance(each, Scalar) and not is_remote(each.text):
                said = "cannot publish compose file with local includes"
                raise ComposeError(said, each.position, "publish that file as well, and include oci://REFERENCE")


def _get(node: Node | None, key: str) -> Node | None:
    """Also of what `<<` merges, which is weaker."""
    if not isinstance(node, Mapping):
        return None
    for name, value in node.items:
        if isinstance(name, Scalar) and name.text == key:
            return value
    for name, value in node.items:
        if isinstance(name, Scalar) and name.text == "<<":
            for each in value.items if isinstance(value, Sequence) else [value]:
                if isinstance(each, Mapping | Scalar) and (found := _get(each, key)) is not None:
                    return found
    return None


def _values(node: Node | None) -> list[Node]:
    return [value for _, value in node.items] if isinstance(node, Mapping) else []
