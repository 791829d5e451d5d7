"""Bytes to documents: the events of the YAML parser become values, iteratively and within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from corten.compose.document.document import Document
from corten.compose.document.expand import Expansion
from corten.compose.document.nodes import Mapping, Node, Scalar, Sequence
from corten.compose.errors import ComposeError
from corten.compose.model import Position

SIZE = 8 << 20  # bytes of a file
DEPTH = 100  # mappings and lists within one another
DOCUMENTS = 1000
NODES = 100_000  # of a document, keys and values: some seconds of work

_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which no text can be written with


def read(data: bytes, name: str) -> list[Document]:
    """The documents of a file that is called `name` in messages. Raises ComposeError with the line."""
    text = _text(data, name)
    with _errors(text, name):
        return [Expansion(name).document(root) for root in _roots(text, name)]


def nodes(data: bytes, name: str) -> tuple[str, list[Node]]:
    """The file's text and the root of each document. Raises ComposeError with the line."""
    text = _text(data, name)
    with _errors(text, name):
        return text, list(_roots(text, name))


@contextmanager
def _errors(text: str, name: str) -> Iterator[None]:
    """The parser's as ComposeError."""
    try:
        yield
    except ReaderError as error:
        at = Position(name, text.count("\n", 0, error.position) + 1)
        raise ComposeError("yaml: control characters are not allowed", at) from None
    except MarkedYAMLError as error:
        raise _marked(error, name) from None
    except (YAMLError, ValueError) as error:
        raise ComposeError(f"yaml: {' '.join(str(error).split())[:200]}", Position(name, 1)) from None


def _text(data: bytes, name: str) -> str:
    if len(data) > SIZE:
        raise ComposeError(f"failed to parse {name}: larger than {SIZE} bytes", remedy="split it, and use include")
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        at = Position(name, data.count(b"\n", 0, error.start) + 1)
        raise ComposeError("yaml: invalid leading UTF-8 octet", at, "save the file as UTF-8") from None


def _marked(error: MarkedYAMLError, name: str) -> ComposeError:
    mark = error.problem_mark or error.context_mark
    words = " ".join(" ".join(part.split()) for part in (error.context, error.problem) if part)
    at = Position(name, mark.line + 1, mark.column + 1) if mark is not None else None
    return ComposeError(f"yaml: {words[:200] or 'not a YAML document'}", at)


def _roots(text: str, name: str) -> Iterator[Node]:
    """The root of each document; aliases are the node that they name."""
    builder = _Builder(name)
    count = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, DocumentStartEvent):
            builder = _Builder(name)
            count += 1
            if count > DOCUMENTS:
                raise ComposeError(f"failed to parse {name}: more than {DOCUMENTS} documents")
        elif isinstance(event, DocumentEndEvent):
            if builder.root is not None:
                yield builder.root
        else:
            builder.take(event)


class _Builder:
    """Of one document. `_open` are the collections that are not closed yet, outermost first."""

    def __init__(self, name: str) -> None:
        self.root: Node | None = None
        self._name = name
        self._open: list[Mapping | Sequence] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def take(self, event: Any) -> None:
        if isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._open.pop()
        elif isinstance(event, AliasEvent):
            self._add(self._alias(event))
        elif isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent):
            node = self._node(event)
            if event.anchor:
                self._anchors[event.anchor] = node
            self._add(node)
            if not isinstance(node, Scalar):
                self._open.append(node)
                if len(self._open) > DEPTH:
                    raise ComposeError(f"yaml: exceeded max depth of {DEPTH}", node.position)

    def _node(self, event: Any) -> Node:
        at = Position(self._name, event.start_mark.line + 1, event.start_mark.column + 1)
        tag = str(event.tag) if event.tag is not None else ""
        if isinstance(event, ScalarEvent):
            if not event.value.isascii() and _SURROGATE.search(event.value):
                raise ComposeError("yaml: found invalid Unicode character escape code", at)
            plain = event.style is None or event.style == ""
            return Scalar(at, tag, event.value, plain, event.start_mark.index, event.end_mark.index)
        return Mapping(at, tag) if isinstance(event, MappingStartEvent) else Sequence(at, tag)

    def _alias(self, event: Any) -> Node:
        at = Position(self._name, event.start_mark.line + 1, event.start_mark.column + 1)
        node = self._anchors.get(event.anchor)
        if node is None:
            raise ComposeError(f"yaml: unknown anchor '{event.anchor}' referenced", at)
        if any(node is each for each in self._open):
            raise ComposeError(f"anchor '{event.anchor}' value contains itself", at)
        return node

    def _add(self, node: Node) -> None:
        self._count += 1
        if self._count > NODES:
            raise ComposeError(f"yaml: more than {NODES} keys and values", node.position, "split it, and use include")
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            parent.items.append((parent.key, node))
            parent.key = None
