"""Words as a Dockerfile has them: quotes, backslashes and variables (Docker's Dockerfile reference, "Environment
replacement"). Nothing is run, and what a variable holds is neither split nor expanded again.

    'a $B'  as it stands         "a $B"  with variables; a backslash only before ", $ and itself
    $NAME  ${NAME}               ${NAME:-WORD}  WORD when it is empty or not set (without the colon: not set)
    ${NAME:+WORD}  WORD when it is not                         ${NAME:?WORD}  an error that says WORD when it is
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = re.compile(r"[0-9@*#?!$-]")  # a shell's own parameters: none has a value here
_DEEP = 32  # braces in braces


@dataclass(frozen=True, slots=True)
class Word:
    """`equals` is where the first `=` that was written, not expanded, stands in `text`; -1 when there is none."""

    text: str
    equals: int = -1


def words(text: str, variables: Mapping[str, str]) -> list[Word]:
    """The words of a line. Raises ValueError for what is not closed, and for a substitution that there is not."""
    return _Line(text, variables).words()


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """A line as one word, spaces and all. Raises ValueError as `words`."""
    return _Line(text, variables).word(end="", blanks=True).text


class _Line:
    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._variables = variables
        self._at = 0
        self._depth = 0

    def words(self) -> list[Word]:
        found: list[Word] = []
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at == len(self._text):
                return found
            found.append(self.word())

    def word(self, end: str = "", blanks: bool = False) -> Word:
        """Up to `end`, which has to come and is taken; without one to the end, or to a blank unless `blanks`."""
        out: list[str] = []
        equals, length = -1, 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == end or (char.isspace() and not blanks and not end):
                break
            if char == "=" and equals < 0:
                equals = length
            piece = self._piece(char)
            out.append(piece)
            length += len(piece)
        if end:
            if self._at == len(self._text):
                raise ValueError(f"missing {end!r} in substitution")
            self._at += 1
        return Word("".join(out), equals)

    def _piece(self, char: str) -> str:
        self._at += 1
        match char:
            case "'":
                return self._single()
            case '"':
                return self._double()
            case "$":
                return self._variable()
            case "\\":
                self._at += 1
                return self._text[self._at - 1 : self._at]
        return char

    def _single(self) -> str:
        close = self._text.find("'", self._at)
        if close < 0:
            raise ValueError("unexpected end of statement while looking for matching single-quote")
        begin, self._at = self._at, close + 1
        return self._text[begin:close]

    def _double(self) -> str:
        out: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return "".join(out)
            if char == "$":
                out.append(self._variable())
            elif char == "\\" and self._text[self._at : self._at + 1] in ('"', "$", "\\"):
                out.append(self._text[self._at])
                self._at += 1
            else:
                out.append(char)
        raise ValueError("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        if self._text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braces()
        name = self._name()
        return "$" if name is None else self._variables.get(name, "")

    def _name(self) -> str | None:
        found = _NAME.match(self._text, self._at) or _SPECIAL.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        return found[0]

    def _braces(self) -> str:
        begin = self._at
        name = self._name()
        if name is None:
            raise ValueError(f"bad substitution: ${{{self._text[begin : begin + 20]}")
        operator = re.compile(r"\}|:?[-+?]").match(self._text, self._at)
        if operator is None:
            rest = self._text[self._at : self._at + 20]
            raise ValueError(
                f"unsupported modifier ({rest}) in substitution" if rest else "missing '}' in substitution"
            )
        self._at = operator.end()
        if operator[0] == "}":
            return self._variables.get(name, "")
        self._depth += 1
        if self._depth > _DEEP:
            raise ValueError(f"more than {_DEEP} substitutions in one another")
        other = self.word(end="}").text
        self._depth -= 1
        return self._substituted(name, operator[0], other)

    def _substituted(self, name: str, operator: str, other: str) -> str:
        value = self._variables.get(name)
        has = bool(value) if operator[0] == ":" else value is not None
        match operator[-1]:
            case "-":
                return value or "" if has else other
            case "+":
                return other if has else ""
        if not has:
            raise ValueError(f"{name}: {other or 'not set'}")
        return value or ""
