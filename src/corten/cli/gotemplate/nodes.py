"""The tree of a template. `at` is where a node starts in the source; `str()` writes it as Go would, for messages."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Node:
    __slots__ = ("at",)

    def __init__(self, at: int) -> None:
        self.at = at


class Text(Node):
    __slots__ = ("text",)

    def __init__(self, at: int, text: str) -> None:
        super().__init__(at)
        self.text = text


class Constant(Node):
    """A string, number, rune or boolean; `source` is how it was spelled."""

    __slots__ = ("source", "value")

    def __init__(self, at: int, value: Any, source: str) -> None:
        super().__init__(at)
        self.value = value
        self.source = source

    def __str__(self) -> str:
        return self.source


class Nil(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "nil"


class Dot(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Field(Node):
    """.A.B of the dot."""

    __slots__ = ("names",)

    def __init__(self, at: int, names: list[str]) -> None:
        super().__init__(at)
        self.names = names

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """$name.A.B"""

    __slots__ = ("name", "names")

    def __init__(self, at: int, name: str, names: list[str]) -> None:
        super().__init__(at)
        self.name = name
        self.names = names

    def __str__(self) -> str:
        return self.name + "".join(f".{name}" for name in self.names)


class Chain(Node):
    """(pipeline).A.B"""

    __slots__ = ("names", "node")

    def __init__(self, at: int, node: Node, names: list[str]) -> None:
        super().__init__(at)
        self.node = node
        self.names = names

    def __str__(self) -> str:
        return f"{_inner(self.node)}" + "".join(f".{name}" for name in self.names)


class Identifier(Node):
    """A function's name."""

    __slots__ = ("name",)

    def __init__(self, at: int, name: str) -> None:
        super().__init__(at)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Command(Node):
    """A function, field or value and its arguments."""

    __slots__ = ("args",)

    def __init__(self, at: int, args: list[Node]) -> None:
        super().__init__(at)
        self.args = args

    def __str__(self) -> str:
        return " ".join(_inner(arg) for arg in self.args)


class Pipe(Node):
    """[$a[, $b] :=|=] command | command ..."""

    __slots__ = ("assign", "commands", "variables")

    def __init__(self, at: int, variables: list[str], assign: bool, commands: list[Command]) -> None:
        super().__init__(at)
        self.variables = variables
        self.assign = assign
        self.commands = commands

    def __str__(self) -> str:
        head = ", ".join(self.variables) + (" = " if self.assign else " := ") if self.variables else ""
        return head + " | ".join(str(command) for command in self.commands)


class Action(Node):
    """{{pipeline}}"""

    __slots__ = ("pipe",)

    def __init__(self, at: int, pipe: Pipe) -> None:
        super().__init__(at)
        self.pipe = pipe


class Branch(Node):
    """{{if}}, {{with}} or {{range}}: `word` says which."""

    __slots__ = ("body", "otherwise", "pipe", "word")

    def __init__(self, at: int, word: str, pipe: Pipe, body: list[Node], otherwise: list[Node]) -> None:
        super().__init__(at)
        self.word = word
        self.pipe = pipe
        self.body = body
        self.otherwise = otherwise


class Template(Node):
    """{{template "name" pipeline}}"""

    __slots__ = ("name", "pipe")

    def __init__(self, at: int, name: str, pipe: Pipe | None) -> None:
        super().__init__(at)
        self.name = name
        self.pipe = pipe

    def __str__(self) -> str:
        return f'{{{{template "{self.name}"{f" {self.pipe}" if self.pipe else ""}}}}}'


class Jump(Node):
    """{{break}} or {{continue}}"""

    __slots__ = ("word",)

    def __init__(self, at: int, word: str) -> None:
        super().__init__(at)
        self.word = word


def _inner(node: Node) -> str:
    return f"({node})" if isinstance(node, Pipe) else str(node)
