"""Words as a Dockerfile has them: quotes, escapes and variables. Nothing is run, and what a variable holds is not
expanded again.

    'a $B'  as it stands            "a $B"  with variables; an escape only before ", $ and itself
    $NAME  ${NAME}  $1 $@ $# ...    a shell's own parameters are never set
    ${NAME:-W}  ${NAME:+W}  ${NAME:?W}     W when empty or not set; W when it is not; an error that says W
    ${NAME-W}   ${NAME+W}   ${NAME?W}      the same, an empty one counts as set
    ${NAME#P} ${NAME##P} ${NAME%P} ${NAME%%P} ${NAME/P/W} ${NAME//P/W}     without, or with another for, what P matches

Work is bounded by the text and by what comes out of it, which is at most LONGEST; braces nest at most DEEP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from corten.spec.dockerfile import shell_pattern
from corten.spec.dockerfile.texts import quoted

LONGEST = 1 << 20  # characters of one word, expanded
DEEP = 50

_NAME = re.compile(r"\d+|[@*#?\-$!]|\w+")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Word:
    """`used` and `undefined` are names of variables."""

    text: str
    used: frozenset[str] = frozenset()
    undefined: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rules:
    """`quotes`: "taken" away, "kept" in their place, or "plain" characters as any. `keep_unset`: a variable that is not
    set stays as it was written."""

    escape: str = "\\"
    quotes: str = "taken"
    keep_unset: bool = False


PLAIN = Rules()


def process(text: str, variables: Mapping[str, str], rules: Rules = PLAIN) -> Word:
    """A text as one word, blanks and all. Raises ValueError with BuildKit's sentence."""
    if len(text) <= LONGEST and _syntax(rules.escape).special.search(text) is None:
        return Word(text)
    reader, pieces = _read(text, variables, rules)
    return Word("".join(piece for piece, _ in pieces), frozenset(reader.used), frozenset(reader.undefined))


def process_words(text: str, variables: Mapping[str, str], rules: Rules = PLAIN) -> tuple[tuple[str, ...], Word]:
    """The same, and split at blanks that no quotes hold: also those that variables bring."""
    reader, pieces = _read(text, variables, rules)
    word = Word("".join(piece for piece, _ in pieces), frozenset(reader.used), frozenset(reader.undefined))
    return _split(pieces), word


def _read(text: str, variables: Mapping[str, str], rules: Rules) -> tuple[_Reader, list[tuple[str, bool]]]:
    reader = _Reader(text, variables, rules)
    try:
        return reader, reader.until("", raw=False)
    except ValueError as error:
        raise ValueError(f"failed to process {quoted(text)}: {error}") from None


class _Syntax:
    """Expressions for an escape character: what is plain up to a stop, what is in double quotes."""

    def __init__(self, escape: str) -> None:
        special = "$<" + re.escape(escape)
        self.special = re.compile(f"[{special}'\"]")
        self.plain = {stop: re.compile(f"[^{special}'\"{stop}]+") for stop in ("", "}", "/")}
        self.plain_quotes = {stop: re.compile(f"[^{special}{stop}]+") for stop in ("", "}", "/")}
        self.in_quotes = re.compile(f'[^"${re.escape(escape)}]+')


@cache
def _syntax(escape: str) -> _Syntax:
    return _Syntax(escape)


def _split(pieces: list[tuple[str, bool]]) -> tuple[str, ...]:
    """Pieces of which each may be split at blanks, or not."""
    found: list[str] = []
    word: list[str] = []
    for piece, splits in pieces:
        for i, part in enumerate(_SPACE.split(piece) if splits else (piece,)):
            if i and word:
                found.append("".join(word))
                word = []
            if part:
                word.append(part)
    return (*found, "".join(word)) if word else tuple(found)


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str], rules: Rules) -> None:
        self._text = text
        self._variables = variables
        self._rules = rules
        self._at = 0
        self._depth = 0
        self._size = 0
        self.used: set[str] = set()
        self.undefined: set[str] = set()
        syntax = _syntax(rules.escape)
        self._plain = syntax.plain_quotes if rules.quotes == "plain" else syntax.plain
        self._in_quotes = syntax.in_quotes

    def until(self, stop: str, raw: bool) -> list[tuple[str, bool]]:
        """To `stop`, which is taken, or without one to the end: pieces, and whether each is split at blanks. With `raw`
        the escape character stays before what it escapes."""
        out: list[tuple[str, bool]] = []
        while self._at < len(self._text):
            plain = self._plain[stop].match(self._text, self._at)
            if plain is not None:
                self._at = plain.end()
                out.append((self._counted(plain[0]), True))
                continue
            char = self._text[self._at]
            self._at += 1
            if char == stop:
                return out
            out.append(self._special(char, raw))
        if stop:
            raise ValueError(f"unexpected end of statement while looking for matching {stop}")
        return out

    def _special(self, char: str, raw: bool) -> tuple[str, bool]:
        if char == "$":
            return self._counted(self._dollar()), True
        if char == "<":
            return self._angle(), False
        if char == self._rules.escape:
            after = self._text[self._at : self._at + 1]
            self._at += 1
            return (char + after if raw else after), False
        if char == "'":
            return self._counted(self._single()), False
        return self._counted(self._double(raw)), False

    def _counted(self, piece: str) -> str:
        self._size += len(piece)
        if self._size > LONGEST:
            raise ValueError(f"it is longer than {LONGEST} characters when it is expanded")
        return piece

    def _angle(self) -> str:
        """`<<` keeps the blanks after it: a heredoc's name may follow them."""
        if self._text[self._at : self._at + 1] != "<":
            return "<"
        begin = self._at - 1
        self._at += 1
        while self._text[self._at : self._at + 1] in ("\t", "\r", " "):
            self._at += 1
        return self._text[begin : self._at]

    def _single(self) -> str:
        close = self._text.find("'", self._at)
        if close < 0:
            self._at = len(self._text)
            raise ValueError("unexpected end of statement while looking for matching single-quote")
        begin, self._at = self._at, close + 1
        held = self._text[begin:close]
        return f"'{held}'" if self._rules.quotes == "kept" else held

    def _double(self, raw: bool) -> str:
        out: list[str] = []
        while self._at < len(self._text):
            plain = self._in_quotes.match(self._text, self._at)
            if plain is not None:
                self._at = plain.end()
                out.append(plain[0])
                continue
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                held = "".join(out)
                return f'"{held}"' if self._rules.quotes == "kept" else held
            if char == "$":
                out.append(self._counted(self._dollar()))
            else:
                out.append(self._escaped(char, raw))
        raise ValueError("unexpected end of statement while looking for matching double-quote")

    def _escaped(self, char: str, raw: bool) -> str:
        """In double quotes: only the quote, `$` and the escape character itself are escaped."""
        after = self._text[self._at : self._at + 1]
        if not after:
            return char if raw else ""
        if after not in ('"', "$", self._rules.escape):
            return char
        self._at += 1
        return char + after if raw else after

    def _dollar(self) -> str:
        if self._text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braces()
        begin, name = self._at, self._name()
        if not name:
            return "$"
        value = self._value(name)
        return "$" + self._text[begin : self._at] if value is None and self._rules.keep_unset else value or ""

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _value(self, name: str) -> str | None:
        value = self._variables.get(name)
        (self.undefined if value is None else self.used).add(name)
        return value

    def _braces(self) -> str:
        if self._at == len(self._text):
            raise ValueError("syntax error: missing '}'")
        if self._text[self._at] in "{}:":
            raise ValueError("syntax error: bad substitution")
        self._depth += 1
        if self._depth > DEEP:
            raise ValueError(f"more than {DEEP} substitutions in one another")
        name = self._name()
        value = self._modified(name)
        self._depth -= 1
        return value or ""

    def _kept(self, name: str, rest: str) -> str | None:
        """What was written, for a variable that is not set and stays."""
        return f"${{{name}{rest}}}" if self._rules.keep_unset else None

    def _modified(self, name: str) -> str | None:
        char = self._next()
        if char == "}":
            value = self._value(name)
            return self._kept(name, "") if value is None else value
        empty_counts = char != ":"
        operator = char if empty_counts else self._next()
        if operator == "/" and empty_counts:
            return self._replaced(name)
        if not operator or operator not in "+-?#%" or (operator in "#%" and not empty_counts):
            written = char if empty_counts else char + operator
            raise ValueError(
                f"unsupported modifier ({written}) in substitution" if operator else "syntax error: missing '}'"
            )
        word = self._inner("}", raw=operator in "#%")
        value = self._value(name)
        if value is None and self._rules.keep_unset:
            return self._kept(name, (char if char == operator else char + operator) + word)
        if operator in "#%":
            return self._cut(value, operator, word)
        return _chosen(name, value, operator, word, bool(value) or (value is not None and empty_counts))

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _inner(self, stop: str, raw: bool) -> str:
        try:
            return "".join(piece for piece, _ in self.until(stop, raw))
        except ValueError:
            if self._at >= len(self._text):
                raise ValueError(
                    "syntax error: missing '}'" if stop == "}" else "syntax error: missing '/' in ${}"
                ) from None
            raise

    def _cut(self, value: str | None, operator: str, word: str) -> str | None:
        longest = word.startswith(operator)
        pattern = _pattern(word[1:] if longest else word)
        if value is None:
            return None
        self._counted(value)
        if operator == "#":
            return value[pattern.prefix(value, longest) :]
        return value[: len(value) - pattern.reversed().prefix(value[::-1], longest)]

    def _replaced(self, name: str) -> str | None:
        everywhere = self._text[self._at : self._at + 1] == "/"
        self._at += everywhere
        written = self._inner("/", raw=True)
        pattern = _pattern(written)
        replacement = self._inner("}", raw=True)
        value = self._value(name)
        if value is None:
            return self._kept(name, f"{'//' if everywhere else '/'}{written}/{replacement}")
        self._counted(value)
        out: list[str] = []
        end = 0
        for begin, stop in pattern.found(value, everywhere):
            out.append(self._counted(value[end:begin] + replacement))
            end = stop
        return "".join([*out, value[end:]])


def _chosen(name: str, value: str | None, operator: str, word: str, has: bool) -> str | None:
    match operator:
        case "-":
            return value if has else word
        case "+":
            return word if has else ""
    if not has:
        raise ValueError(f"{name}: {word or 'is not allowed to be ' + ('unset' if value is None else 'empty')}")
    return value


def _pattern(text: str) -> shell_pattern.Pattern:
    try:
        return shell_pattern.parse(text)
    except ValueError as error:
        raise ValueError(f"invalid pattern ({text}) in substitution: {error}") from None
