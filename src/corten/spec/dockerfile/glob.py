"""Patterns of Go's filepath.Match, which COPY's sources are: `*` and `?` within a name, `[a-z]`, `[^a]`, and a
backslash that takes their meaning away. `**` is `*`.

They become regular expressions that never go back over what was matched (atomic groups): the text before the next `*`
is looked for once, from the left, and what follows the last `*` has to stand at the end of the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import NamedTuple

from corten.spec.dockerfile.texts import quoted

_WILD = frozenset("*?[")


class Mark(Enum):
    STAR = auto()  # any text without a slash
    DEEP = auto()  # `**`: only in patterns of .dockerignore


Token = str | Mark  # a regular expression for one character, or a mark
END = r"(?=/|\Z)"  # of a name


class Name(NamedTuple):
    """One name of a path's pattern. `literal` is the name itself where nothing in it is a pattern."""

    literal: str | None
    expression: re.Pattern[str]

    def matches(self, name: str) -> bool:
        return name == self.literal if self.literal is not None else self.expression.fullmatch(name) is not None


def names(pattern: str) -> tuple[Name, ...]:
    """A source's names, from the root: for a walk that looks only where something can match. Raises ValueError."""
    return tuple(_name(name) for name in split(pattern) if name)


def is_pattern(text: str) -> bool:
    """Whether something in it is no plain character."""
    plain = re.sub(r"\\.", "", text, flags=re.DOTALL)
    return not _WILD.isdisjoint(plain)


def unescaped(text: str) -> str:
    """The name that a text without patterns is."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def split(pattern: str) -> list[str]:
    """At slashes; one in brackets is no character that a name can have, so it splits too."""
    return pattern.split("/")


def _name(text: str) -> Name:
    tokens = tokens_of(text)
    literal = None if is_pattern(text) else unescaped(text)
    return Name(literal, re.compile(expression(tokens) + r"\Z", re.DOTALL))


def tokens_of(text: str, deep: bool = False) -> list[Token]:
    """With `deep` two stars are one mark. Raises ValueError."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            twice = deep and text[at : at + 1] == "*"
            at += twice
            found.append(Mark.DEEP if twice else Mark.STAR)
        elif char == "?":
            found.append("[^/]")
        elif char == "[":
            token, at = _class(text, at)
            found.append(token)
        elif char == "\\":
            if at == len(text):
                raise ValueError(f"syntax error in pattern: {quoted(text)}")
            found.append(re.escape(text[at]))
            at += 1
        else:
            found.append(re.escape(char))
    return found


def _class(text: str, at: int) -> tuple[str, int]:
    """`[a-z]` from behind its bracket, as an expression, and where it ends."""
    negated = text[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while text[at : at + 1] != "]" or not ranges:
        low, at = _member(text, at)
        high = low
        if text[at : at + 1] == "-":
            high, at = _member(text, at + 1)
        # A range that is upside down holds nothing.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    inner = "".join(ranges)
    if negated:
        return f"[^/{inner}]", at + 1
    return (f"(?!/)[{inner}]" if inner else "(?!)"), at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    if text[at : at + 1] == "\\":
        at += 1
    elif text[at : at + 1] in ("", "-", "]"):
        raise ValueError(f"syntax error in pattern: {quoted(text)}")
    if at >= len(text):
        raise ValueError(f"syntax error in pattern: {quoted(text)}")
    return text[at], at + 1


def expression(tokens: Iterable[Token], ends: bool = True) -> str:
    """Names and slashes as a regular expression that does not go back. `ends`: the last name has to end there."""
    out: list[str] = []
    name: list[Token] = []
    for token in tokens:
        if token == "/":
            out.append(_name_expression(name, ends=True) + "/")
            name = []
        else:
            name.append(token)
    return "".join(out) + _name_expression(name, ends)


def _name_expression(tokens: Sequence[Token], ends: bool) -> str:
    pieces: list[str] = [""]
    for token in tokens:
        if isinstance(token, Mark):
            pieces.append("")
        else:
            pieces[-1] += token
    first, *others = pieces
    out = [first]
    for number, piece in enumerate(others, 1):
        if number == len(others) and ends:
            out.append(f"(?>[^/]*{piece}{END})")
        else:
            out.append(f"(?>[^/]*?{piece})")
    return "".join(out) + (END if ends and not others else "")


def literal(name: str) -> str:
    """A pattern that means this very name."""
    return "".join(f"\\{character}" if character in "*?[\\" else character for character in name)
