"""Patterns of a shell's substitutions: `*` is any text, `?` one character; a backslash before these, itself, `}` and
`/` takes their meaning away. Matching never goes back: pieces between stars are looked for once each, from the left for
the shortest match, the last one from the right for the longest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST = 200  # characters with a `?` among them: each is tried at each place

_Token = str | None  # None is any one character


class _Piece:
    """What is between two stars, of a known length."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.length = len(tokens)
        self._literal = "".join(token or "" for token in tokens)
        self._expression = (
            re.compile("".join("." if token is None else re.escape(token) for token in tokens), re.DOTALL)
            if None in tokens
            else None
        )

    def find(self, text: str, at: int) -> int:
        """The first place from `at` on; -1 for none."""
        if self._expression is None:
            return text.find(self._literal, at)
        found = self._expression.search(text, at)
        return found.start() if found else -1

    def stands(self, text: str, at: int) -> bool:
        if self._expression is None:
            return text.startswith(self._literal, at)
        return self._expression.match(text, at) is not None


@dataclass(frozen=True, slots=True)
class Pattern:
    """The pieces between the stars."""

    pieces: tuple[_Piece, ...]

    def reversed(self) -> Pattern:
        return Pattern(tuple(_Piece(piece.tokens[::-1]) for piece in self.pieces[::-1]))

    def prefix(self, text: str, longest: bool) -> int:
        """The length of what matches at the begin of `text`, 0 when nothing does."""
        return max(self._end(text, 0, longest), 0)

    def found(self, text: str, everywhere: bool) -> Iterator[tuple[int, int]]:
        """Where it matches in `text`: the first place, or all that do not overlap; the longest match at each."""
        only_stars = not any(piece.length for piece in self.pieces)
        at = 0
        while at <= len(text):
            begin = self.pieces[0].find(text, at)
            end = self._end(text, begin, longest=True) if begin >= 0 else -1
            if end < 0:
                return
            yield begin, end
            if not everywhere or (end > begin and only_stars):
                return
            at = end if end > begin else end + 1

    def _end(self, text: str, begin: int, longest: bool) -> int:
        """The end of a match that begins at `begin`; -1 for none."""
        first, *others = self.pieces
        if not first.stands(text, begin):
            return -1
        at = begin + first.length
        for piece in others:
            place = piece.find(text, at)
            if place < 0:
                return -1
            at = place + piece.length
        if others and longest:
            return _last(others[-1], text, at)
        return at


def parse(text: str) -> Pattern:
    """Raises ValueError."""
    pieces: list[list[_Token]] = [[]]
    characters = iter(text)
    for char in characters:
        if char == "*":
            pieces.append([])
        elif char == "?":
            pieces[-1].append(None)
        else:
            pieces[-1].append(_escaped(next(characters, "")) if char == "\\" else char)
    if len(text) > _LONGEST and any(None in piece for piece in pieces):
        raise ValueError(f"longer than {_LONGEST} characters")
    return Pattern(tuple(map(_Piece, pieces)))


def _escaped(char: str) -> str:
    if not char or char not in "*?\\}/":
        raise ValueError(f"invalid escape '\\{char}'")
    return char


def _last(piece: _Piece, text: str, end: int) -> int:
    """The end of the last place of `piece`, of which one ends at `end`."""
    place = _Piece(piece.tokens[::-1]).find(text[::-1], 0)
    return len(text) - place if place >= 0 else end
