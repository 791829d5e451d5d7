"""Texts as BuildKit prints them: Go's %q, and "did you mean"."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

# What Go takes for blank at the begin and end of a text.
SPACE = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPES |= {'"': '\\"', "\\": "\\\\"}
_FAR = 3  # as many edits are no suggestion
_MOST_NAMES, _LONGEST_NAME = 100, 40


def unicode(text: str) -> str:
    """Lone surrogates, which stand for bytes that are no UTF-8, as U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def quoted(text: str) -> str:
    """Go's %q."""
    return '"' + "".join(_ESCAPES.get(char) or _printable(char) for char in text) + '"'


def quoted_list(words: Iterable[str]) -> str:
    """Go's %q of a list."""
    return "[" + " ".join(quoted(word) for word in words) + "]"


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def suggestion(word: str, names: Iterable[str], cased: bool = True) -> str:
    """The name nearest to `word`, in its case unless `cased`; "" when none is within two edits, or one is the same. Of
    many names only the first are looked at."""
    wanted = word if cased else word.lower()
    best, near = "", _FAR
    for name in islice(names, _MOST_NAMES):
        other = name if cased else name.lower()
        if other == wanted:
            return ""
        edits = _edits(wanted, other)
        if edits < near:
            best, near = other, edits
    return best if cased else _in_case_of(best, word)


def did_you_mean(word: str, names: Iterable[str], cased: bool = True) -> str:
    """ " (did you mean NAME?)", or nothing."""
    name = suggestion(word, names, cased)
    return f" (did you mean {name}?)" if name else ""


def _in_case_of(text: str, word: str) -> str:
    if word == word.lower():
        return text
    return text.upper() if word == word.upper() else text


def _edits(first: str, second: str) -> int:
    """Levenshtein's distance; _FAR stands for that and more. Only what is near the diagonal is looked at."""
    if abs(len(first) - len(second)) >= _FAR or len(first) > _LONGEST_NAME:
        return _FAR
    row = {j: j for j in range(min(_FAR, len(second) + 1))}
    for i, char in enumerate(first, 1):
        new: dict[int, int] = {}
        for j in range(max(0, i - _FAR + 1), min(len(second), i + _FAR - 1) + 1):
            same = row.get(j - 1, _FAR) + (j > 0 and char != second[j - 1])
            new[j] = min(row.get(j, _FAR) + 1, new.get(j - 1, _FAR) + 1, same if j else _FAR)
        row = new
        if min(row.values()) >= _FAR:
            return _FAR
    return min(row.get(len(second), _FAR), _FAR)
