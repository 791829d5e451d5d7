r"""A command as one text, split into words as Compose does: quotes and backslashes, no variables, no globs.

sh -c 'a b' "c \" d" e\ f      sh, -c, a b, c " d, e f
"""

from __future__ import annotations

_BLANKS = " \t\r\n"
_ENDS = ";&|<>"


def split(text: str) -> list[str]:
    """Raises ValueError for a quote or a parenthesis that is not closed.

    What follows ; & | < > outside of quotes is not read, as in Compose; `...` and $(...) are kept as they are.
    """
    splitter = _Splitter()
    for character in text:
        if not splitter.take(character):
            break
    return splitter.end()


class _Splitter:
    def __init__(self) -> None:
        self._words: list[str] = []
        self._word: list[str] = []
        self._given = False  # there is a word, and be it empty
        self._escaped = False
        self._open: set[str] = set()  # of ' " ` and ( those that are not closed

    def take(self, character: str) -> bool:
        """False when nothing more is read."""
        if self._escaped:
            self._escaped = False
            self._add(character)
        elif character == "\\" and "'" not in self._open:
            self._escaped = True
        elif character in _BLANKS:
            self._blank(character)
        elif character in "'\"" and not self._open & ({"(", '"', "'"} - {character}):
            self._given = self._given or character in self._open
            self._open ^= {character}
        elif character in "`()" and not self._open & {"'", '"'}:
            self._nest(character)
        elif character in _ENDS and not self._open:
            if character == ">" and self._word and self._word[0].isdigit():
                self._given = False  # the number of a descriptor: 2>
            return False
        else:
            self._add(character)
        return True

    def _nest(self, character: str) -> None:
        if character == "`" and "(" not in self._open:
            self._open ^= {"`"}
        elif character == ")" and "`" not in self._open:
            self._open ^= {"("}
        elif character == "(" and "`" not in self._open:
            if "(" in self._open or self._word[-1:] != ["$"]:
                raise ValueError("invalid command line string")
            self._open.add("(")
        self._add(character)

    def _blank(self, character: str) -> None:
        if self._open:
            self._word.append(character)
            return
        if self._given:
            self._words.append("".join(self._word))
        self._word, self._given = [], False

    def _add(self, character: str) -> None:
        self._word.append(character)
        self._given = True

    def end(self) -> list[str]:
        if self._open or self._escaped:
            raise ValueError("invalid command line string")
        return [*self._words, "".join(self._word)] if self._given else self._words
