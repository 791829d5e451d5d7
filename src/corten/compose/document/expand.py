"""Nodes to values: aliases followed, `<<` merged, tags obeyed. Nodes are as deep as `read.DEPTH` at most; aliases can
make values deeper and larger than the text, so both are bounded once more."""

from __future__ import annotations

from corten.compose.document.document import Document, Positions, Tree, Value
from corten.compose.document.nodes import Mapping, Node, Scalar, Sequence
from corten.compose.document.scalars import Date, integer, resolve
from corten.compose.errors import ComposeError

VALUES = 200_000  # of a document, aliases followed
DEPTH = 100
_CORE = "tag:yaml.org,2002:"


class _Removed:
    """What !reset leaves, and a text that does not fit its tag."""


_REMOVED = _Removed()

Path = tuple[str, ...]


class Expansion:
    """Of one document of the file `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._positions: Positions = {}
        self._resets: list[Path] = []
        self._count = 0

    def document(self, root: Node) -> Document:
        value = self._value(root, (), 0)
        self._positions.setdefault("", root.position)
        return Document(None if isinstance(value, _Removed) else value, self._positions, tuple(self._resets))

    def _value(self, node: Node, path: Path, depth: int) -> Value | _Removed:
        self._count += 1
        if self._count > VALUES:
            raise ComposeError("yaml: document contains excessive aliasing", node.position, f"{VALUES} values at most")
        if depth > DEPTH:
            raise ComposeError(f"yaml: exceeded max depth of {DEPTH}", node.position)
        if path and node.tag in ("!reset", "!override"):
            self._resets.append(path)
            if node.tag == "!reset":
                return _REMOVED
        if isinstance(node, Scalar):
            return scalar(node)
        if isinstance(node, Sequence):
            return self._sequence(node, path, depth)
        return self._mapping(node, path, depth)

    def _sequence(self, node: Sequence, path: Path, depth: int) -> list[Value]:
        found: list[Value] = []
        prefix = ".".join(path)
        for item in node.items:
            at = str(len(found))
            self._positions[f"{prefix}.{at}"] = item.position
            value = self._value(item, (*path, f"[{at}]"), depth + 1)
            if not isinstance(value, _Removed):
                found.append(value)
        return found

    def _mapping(self, node: Mapping, path: Path, depth: int) -> Tree:
        lines: dict[str, int] = {}
        found: Tree = {}
        merged: Tree = {}
        for key, item in node.items:
            if isinstance(key, Scalar) and key.text == "<<" and (key.plain or key.tag == f"{_CORE}merge"):
                for each in self._merged(item, path, depth):
                    merged = {**each, **merged}
                continue
            name = self._key(key, path)
            if name in lines:
                said = f'mapping key "{name}" already defined at line {lines[name]}'
                raise ComposeError(f"line {key.position.line}: {said}", key.position)
            lines[name] = key.position.line
            self._positions[".".join((*path, name)).replace("[", "").replace("]", "")] = key.position
            value = self._value(item, (*path, name), depth + 1)
            if not isinstance(value, _Removed):
                found[name] = value
        return {**merged, **found}

    def _merged(self, item: Node, path: Path, depth: int) -> list[Tree]:
        """What `<<` brings, the strongest first."""
        values = item.items if isinstance(item, Sequence) else [item]
        found = []
        for each in values:
            value = self._value(each, path, depth + 1)
            if not isinstance(value, dict):
                raise ComposeError("yaml: map merge requires map or sequence of maps as the value", item.position)
            found.append(value)
        return found

    def _key(self, key: Node, path: Path) -> str:
        value = scalar(key) if isinstance(key, Scalar) else None
        if isinstance(value, str):
            return str(value)
        where = f"in {'.'.join(path)}" if path else "at top level"
        shown = ("<nil>" if value is None else key.text) if isinstance(key, Scalar) else "a collection"
        raise ComposeError(f"non-string key {where}: {shown}", key.position, f'write it in quotes: "{shown}"')


def scalar(node: Scalar) -> Value:
    """Raises ComposeError for a tag that its text does not fit."""
    tag = node.tag.removeprefix(_CORE) if node.tag.startswith(_CORE) else node.tag
    tag = tag.removeprefix("!!")
    if tag in ("", "!override", "?"):
        return resolve(node.text) if node.plain else node.text
    value = _tagged(tag, node.text)
    if isinstance(value, _Removed):
        raise ComposeError(f"yaml: cannot decode `{node.text[:60]}` as a !!{tag}", node.position)
    return value


def _tagged(tag: str, text: str) -> Value | _Removed:
    if tag == "int":
        found = integer(text.replace("_", ""))
        return _REMOVED if found is None else found
    value = resolve(text)
    match tag:
        case "float":
            return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else _REMOVED
        case "bool":
            return value if isinstance(value, bool) else _REMOVED
        case "null":
            return None if value is None else _REMOVED
        case "timestamp":
            return value if isinstance(value, Date) else _REMOVED
        case _:
            return text  # !!str, and tags of others
