"""A document as the parser sees it, before aliases are followed and scalars have types."""

from __future__ import annotations

from typing import TypeAlias

from corten.compose.model import Position


class Scalar:
    __slots__ = ("end", "plain", "position", "start", "tag", "text")

    def __init__(self, position: Position, tag: str, text: str, plain: bool, start: int, end: int) -> None:
        self.position = position
        self.tag = tag
        self.text = text
        self.plain = plain  # written without quotes
        self.start = start  # in the file's text, in characters; of what is written, quotes included
        self.end = end


class Sequence:
    __slots__ = ("items", "position", "tag")

    def __init__(self, position: Position, tag: str) -> None:
        self.position = position
        self.tag = tag
        self.items: list[Node] = []


class Mapping:
    __slots__ = ("items", "key", "position", "tag")

    def __init__(self, position: Position, tag: str) -> None:
        self.position = position
        self.tag = tag
        self.items: list[tuple[Node, Node]] = []
        self.key: Node | None = None  # read, its value not yet


Node: TypeAlias = Scalar | Sequence | Mapping
