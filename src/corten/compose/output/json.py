"""JSON as Go's encoder writes it: mappings by key, < > & escaped."""

from __future__ import annotations

import json
from typing import Any

from corten.compose.output.numbers import for_json
from corten.compose.output.ordered import Sorted, by_bytes

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_SHORT = {"\\b": "\\u0008", "\\f": "\\u000c"}


def compact(tree: Any) -> str:
    """In one line."""
    return _Writer("", "", ":", ",").value(tree, "\n")


def indented(tree: Any) -> str:
    return _Writer("\n", "  ", ": ", ",").value(tree, "\n")


class _Writer:
    def __init__(self, line: str, indent: str, colon: str, comma: str) -> None:
        self._line = line
        self._indent = indent
        self._colon = colon
        self._comma = comma

    def value(self, value: Any, line: str) -> str:
        match value:
            case str():
                return text(value)
            case bool() | None:
                return json.dumps(value)
            case int():
                return str(int(value))
            case float():
                return for_json(value)
            case dict():
                keys = by_bytes(list(value)) if isinstance(value, Sorted) else list(value)
                return self._all("{", [(f"{text(key)}{self._colon}", value[key]) for key in keys], "}", line)
            case _:
                return self._all("[", [("", each) for each in value], "]", line)

    def _all(self, opening: str, entries: list[tuple[str, Any]], closing: str, line: str) -> str:
        if not entries:
            return opening + closing
        inner = f"{line}{self._indent}"
        shown = [f"{inner if self._line else ''}{head}{self.value(each, inner)}" for head, each in entries]
        return f"{opening}{self._comma.join(shown)}{line if self._line else ''}{closing}"


def text(value: str) -> str:
    found = json.dumps(value, ensure_ascii=False)
    for short, long in _SHORT.items():
        if short in found:
            found = long.join(found.split(short)) if "\\\\" not in found else _each_escape(found)
    for character, escape in _ESCAPES.items():
        found = found.replace(character, escape)
    return found


def _each_escape(found: str) -> str:
    """With backslashes in the text, each pair is looked at by itself."""
    parts: list[str] = []
    at = 0
    while at < len(found):
        pair = found[at : at + 2]
        if found[at] == "\\":
            parts.append(_SHORT.get(pair, pair))
            at += 2
        else:
            parts.append(found[at])
            at += 1
    return "".join(parts)
