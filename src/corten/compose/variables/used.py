"""Which variables a tree uses, for `config --variables`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from corten.compose.document import Tree, Value
from corten.compose.variables.template import references


class Variable(msgspec.Struct, frozen=True):
    name: str
    default: str = ""
    alternate: str = ""
    required: bool = False


def variables(tree: Tree) -> list[Variable]:
    """By name; of one that is used in several ways the last."""
    found: dict[str, Variable] = {}
    for text in _texts(tree):
        for each in references(text):
            kind = each.operator[-1:]
            found[each.name] = Variable(
                each.name,
                default=each.text if kind == "-" else "",
                alternate=each.text if kind == "+" else "",
                required=kind == "?",
            )
    return [found[name] for name in sorted(found)]


def _texts(value: Value) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str) and "$" in value:
        yield value
