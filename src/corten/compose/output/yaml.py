"""YAML as Compose writes it: block style, indented by two, texts plain where they can be."""

from __future__ import annotations

import re
from typing import Any

from corten.compose.document.scalars import OLD_BOOLEANS, resolve
from corten.compose.output.numbers import for_yaml
from corten.compose.output.ordered import Sorted, by_nature

_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_FIRST = frozenset("#,[]{}&*!|>'\"%@`")
_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P",
}  # fmt: skip
_BREAKS = frozenset("\n\r\x85\u2028\u2029")

SIMPLE = 128  # bytes of a key in one line with its value


def yaml(tree: Any, step: int = 2) -> str:
    """Of a mapping; what is within something is indented by `step`."""
    lines = _Writer(step).mapping(tree, "") if tree else ["{}"]
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, step: int) -> None:
        self._step = " " * step

    def mapping(self, tree: dict[str, Any], indent: str) -> list[str]:
        keys = by_nature(list(tree)) if isinstance(tree, Sorted) else list(tree)
        lines: list[str] = []
        for key in keys:
            if "\n" in key or len(key.encode("utf-8", "surrogatepass")) > SIMPLE:
                first, *rest = _text(key, indent + self._step)
                lines += [f"{indent}? {first}", *rest, *self._item(tree[key], indent, ":")]
            else:
                lines += self._entry(f"{indent}{_key(key)}:", tree[key], indent)
        return lines

    def _entry(self, head: str, value: Any, indent: str) -> list[str]:
        """A key's line and what is below it."""
        inner = indent + self._step
        if isinstance(value, dict) and value:
            return [head, *self.mapping(value, inner)]
        if isinstance(value, list) and value:
            return [head, *self._list(value, inner)]
        first, *rest = _scalar(value, inner)
        return [f"{head} {first}", *rest]

    def _list(self, values: list[Any], indent: str) -> list[str]:
        lines: list[str] = []
        for each in values:
            lines += self._item(each, indent)
        return lines

    def _item(self, value: Any, indent: str, mark: str = "-") -> list[str]:
        inner = indent + self._step
        if isinstance(value, dict) and value:
            below = self.mapping(value, inner)
        elif isinstance(value, list) and value:
            below = self._list(value, inner)
        else:
            below = _scalar(value, inner)
            return [f"{indent}{mark} {below[0]}", *below[1:]]
        return [f"{indent}{mark} {below[0][len(indent) + 2 :]}", *below[1:]]


def _key(key: str) -> str:
    return key if _plain(key) else _quoted(key)


def _scalar(value: Any, indent: str) -> list[str]:
    """Lines, the first without its indentation."""
    match value:
        case None:
            return ["null"]
        case bool():
            return ["true" if value else "false"]
        case dict():
            return ["{}"]
        case list() | tuple():
            return ["[]"]
        case float():
            return [for_yaml(value)]
        case int():
            return [str(int(value))]
        case _:
            return _text(str(value), indent)


def _text(text: str, indent: str) -> list[str]:
    if "\n" in text and _literal(text):
        return _block(text, indent)
    if "\n" in text:
        return [_doubled(text)]
    return [text if _plain(text) else _quoted(text)]


def _literal(text: str) -> bool:
    """Whether it can stand as a block: printable, no blanks before a line's end."""
    if text.endswith(" ") or " \n" in text or text[:1] == "\ufeff":
        return False
    return all(_printable(each) or each == "\n" for each in text)


def _block(text: str, indent: str) -> list[str]:
    head = "|"
    if text[0] in " \n":
        head += "2"
    if not text.endswith("\n"):
        head += "-"
    elif text.endswith("\n\n") or text == "\n":
        head += "+"
    lines = text.split("\n")
    if text.endswith("\n"):
        lines.pop()
    return [head, *(f"{indent}{line}" if line else "" for line in lines)]


def _plain(text: str) -> bool:
    """Whether it reads as the same text without quotes."""
    if not text or not isinstance(resolve(text), str) or type(resolve(text)) is not str:
        return False
    if text in OLD_BOOLEANS or _SEXAGESIMAL.fullmatch(text):
        return False
    if text[0] in " " or text[-1] == " " or text.startswith(("---", "...")):
        return False
    if text[0] in _FIRST or (text[0] in "?:-" and (len(text) == 1 or text[1] == " " or text[1] == "\t")):
        return False
    if ": " in text or " #" in text or text.endswith(":") or ":\t" in text or "\t#" in text:
        return False
    return all(_printable(each) and each != "\t" and each not in _BREAKS for each in text)


def _printable(character: str) -> bool:
    """Go's library escapes what is beyond 16 bits."""
    code = ord(character)
    return (
        character == "\t"
        or 0x20 <= code <= 0x7E
        or code == 0x85
        or 0xA0 <= code <= 0xD7FF
        or (0xE000 <= code <= 0xFFFD and code != 0xFEFF)
    )


def _quoted(text: str) -> str:
    """In single quotes where it is a text also without (only its characters forbid that), else in double quotes."""
    known = isinstance(resolve(text), str) and type(resolve(text)) is str and text not in OLD_BOOLEANS
    known = known and not _SEXAGESIMAL.fullmatch(text)
    single = known and text and all(_printable(each) and each not in _BREAKS for each in text)
    if single and text[0] != " " and text[-1] != " " and "\t" not in text:
        return "'" + text.replace("'", "''") + "'"
    if single and "\t" not in text:
        return "'" + text.replace("'", "''") + "'"
    return _doubled(text)


def _doubled(text: str) -> str:
    return '"' + "".join(_escaped(each) for each in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return f"\\{_ESCAPES[character]}"
    if _printable(character) and character != "\t":
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
