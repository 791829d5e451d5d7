"""Patterns of .dockerignore and of --exclude (moby/patternmatcher): of several the last that matches wins, `!` takes
back, `*` and `?` stay within a name, `**` is any depth, and what holds for a directory holds below it.

What is between two `**` is looked for once, from the left (`glob`): the work for a path is at most its length times
that of the pattern. `**` that is not a name of its own has the meaning that it has in Go: after other characters,
`a**b`, it is nothing or any text that ends with a slash; before plain text at the begin, `**.md`, it is any text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import NamedTuple

from corten.errors import Invalid
from corten.spec.dockerfile import glob
from corten.spec.dockerfile.glob import Mark, Token
from corten.spec.dockerfile.texts import SPACE, quoted

LONGEST_LINE = 65535
MOST_PATTERNS = 10_000
_MOST_IN_NAMES = 3  # `**` behind other characters of a name
_BOM = b"\xef\xbb\xbf"


def lines(data: bytes) -> tuple[str, ...]:
    """The patterns of a .dockerignore, cleaned: without comments, empty lines, blanks around them and a slash before
    them. Raises Invalid for a line that is too long."""
    found: list[str] = []
    for number, raw in enumerate(data.removeprefix(_BOM).split(b"\n"), 1):
        if len(raw) > LONGEST_LINE:
            raise Invalid(f"error reading .dockerignore: line {number} is longer than {LONGEST_LINE} bytes")
        text = raw.decode("utf-8", "surrogateescape")
        pattern = text.strip(SPACE)
        if not pattern or text.startswith("#"):
            continue
        taken_back = pattern.startswith("!")
        cleaned = _cleaned(pattern[taken_back:].strip(SPACE))
        found.append("!" * taken_back + cleaned)
    return tuple(found)


def _cleaned(pattern: str) -> str:
    if not pattern:
        return ""
    path = _clean(pattern)
    return path[1:] if len(path) > 1 and path.startswith("/") else path


def _clean(path: str) -> str:
    """Go's filepath.Clean."""
    return re.sub("^//+", "/", posixpath.normpath(path))


class Pattern(NamedTuple):
    """`takes_back`: with `!` before it. `literal` is set where it is a plain path."""

    text: str
    takes_back: bool
    expression: re.Pattern[str]
    literal: str | None = None

    def matches(self, path: str) -> bool:
        """The path, or a directory that it is in."""
        if self.literal is not None:
            return path.startswith(self.literal) and path[len(self.literal) : len(self.literal) + 1] in ("", "/")
        return self.expression.match(path) is not None


class Patterns:
    """Several, compiled once."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises Invalid for what is no pattern."""
        stripped = [text.strip(SPACE) for text in texts]
        if len(stripped) > MOST_PATTERNS:
            raise Invalid(f"more than {MOST_PATTERNS} patterns")
        self.patterns = tuple(_pattern(text) for text in stripped if text)

    @property
    def take_back(self) -> bool:
        """Whether something below an excluded directory may not be: without it such a directory needs no walk."""
        return any(pattern.takes_back for pattern in self.patterns)

    def excludes(self, path: str) -> bool:
        """Of a path below the root: "a/b"."""
        excluded = False
        for pattern in self.patterns:
            if pattern.takes_back == excluded and pattern.matches(path):
                excluded = not excluded
        return excluded


def _pattern(text: str) -> Pattern:
    cleaned = _clean(text)
    takes_back = cleaned.startswith("!")
    path = cleaned[takes_back:]
    if not path:
        raise Invalid('illegal exclusion pattern: "!"')
    try:
        tokens = glob.tokens_of(path, deep=True)
        expression = re.compile(_expression(tokens), re.DOTALL)
    except ValueError:
        raise Invalid(f"syntax error in pattern: {quoted(text)}") from None
    literal = None if glob.is_pattern(path) else glob.unescaped(path)
    return Pattern(path, takes_back, expression, literal)


def _expression(tokens: Sequence[Token]) -> str:
    if tokens[0] is Mark.DEEP and tokens[1:2] not in ([], ["/"]) and all(map(_is_plain, tokens[1:])):
        return f".*?{glob.expression(tokens[1:])}"
    return "|".join(_joined(choice) for choice in _choices(tokens))


def _is_plain(token: Token) -> bool:
    return isinstance(token, str) and len(token.removeprefix("\\")) == 1


class _Join(Enum):
    """What is before a fragment."""

    NAMES = auto()  # any number of names, each with its slash
    TEXT = auto()  # any text that ends with a slash
    NOTHING_OR_TEXT = auto()


class _Fragment(NamedTuple):
    join: _Join
    tokens: list[Token]


def _fragments(tokens: Sequence[Token]) -> list[_Fragment]:
    """What is between `**`. The first begins at the path's begin."""
    found = [_Fragment(_Join.NAMES, [])]
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token is Mark.DEEP:
            own_name = at == 1 or tokens[at - 2] in ("/", Mark.DEEP)
            found.append(_Fragment(_Join.NAMES if own_name else _Join.NOTHING_OR_TEXT, []))
            at += tokens[at : at + 1] == ["/"]
        else:
            found[-1].tokens.append(token)
    return found


def _choices(tokens: Sequence[Token]) -> list[list[_Fragment]]:
    """Where `**` follows other characters than a slash: once without it, and once with it. Raises ValueError for more
    such than anything needs."""
    first, *others = _fragments(tokens)
    if sum(fragment.join is _Join.NOTHING_OR_TEXT for fragment in others[:-1]) > _MOST_IN_NAMES:
        raise ValueError("too many **")
    found = [[first]]
    for fragment in others:
        at_the_end = fragment is others[-1] and not fragment.tokens  # whatever follows
        if at_the_end or fragment.join is _Join.NAMES:
            found = [[*choice, fragment] for choice in found]
        else:
            without = [
                [*choice[:-1], choice[-1]._replace(tokens=choice[-1].tokens + fragment.tokens)] for choice in found
            ]
            found = without + [[*choice, fragment._replace(join=_Join.TEXT)] for choice in found]
    return found


def _joined(fragments: Sequence[_Fragment]) -> str:
    first, *others = fragments
    if not others:
        return glob.expression(first.tokens)
    out = [glob.expression(first.tokens, ends=False)]
    for fragment in others:
        last = fragment is others[-1]
        if last and not fragment.tokens:
            break
        text = glob.expression(fragment.tokens, ends=last)
        out.append(f"(?>(?:[^/]*/)*?{text})" if fragment.join is _Join.NAMES else f"(?>.*?/{text})")
    return "".join(out)
