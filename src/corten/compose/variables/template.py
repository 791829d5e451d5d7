r"""Interpolation of one text.

    $NAME ${NAME}             the value, or nothing with a warning
    ${NAME:-text} ${NAME-text}    text when unset or empty / when unset
    ${NAME:+text} ${NAME+text}    text when set and not empty / when set, else the value
    ${NAME:?text} ${NAME?text}    an error with text when unset or empty / when unset
    $$                        $

A name is [_A-Za-z][_A-Za-z0-9]*; `text` is interpolated itself. Every other $ stays as it is, but "${" without a name
and an end is an error. https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

Lookup = Callable[[str], "str | None"]

DEPTH = 50  # of texts within texts
LONGEST = 16 << 20  # characters of a result
#: What may follow a name, the longer first.
OPERATORS = (":-", ":+", ":?", "-", "+", "?")

_NAME = re.compile(r"[_A-Za-z][_A-Za-z0-9]*")


class BadTemplate(Exception):
    """`text` has a "${" that is no variable."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Missing(Exception):
    """A required variable has no value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"required variable {name} is missing a value{f': {reason}' if reason else ''}")


class Reference(msgspec.Struct, frozen=True):
    """One variable in a text; `operator` is "" or one of OPERATORS."""

    name: str
    operator: str = ""
    text: str = ""


class Interpolation:
    """Texts with the variables of `lookup`, which answers None for one that is not set.

    `unset` is called with the name of each that has neither value nor default.
    """

    def __init__(self, lookup: Lookup, unset: Callable[[str], None] = lambda name: None) -> None:
        self._lookup = lookup
        self._unset = unset

    def text(self, text: str) -> str:
        """Raises BadTemplate, Missing."""
        return self._text(text, 0)

    def _text(self, text: str, depth: int) -> str:
        if "$" not in text:
            return text
        if depth > DEPTH:
            raise BadTemplate(text)
        found: list[str] = []
        length = 0
        for part in parts(text):
            found.append(part if isinstance(part, str) else self._value(part, depth))
            length += len(found[-1])
            if length > LONGEST:
                raise BadTemplate(text[:60])
        return "".join(found)

    def _value(self, reference: Reference, depth: int) -> str:
        value = self._lookup(reference.name)
        given = bool(value) if reference.operator.startswith(":") else value is not None
        match reference.operator[-1:]:
            case "-":
                text = self._text(reference.text, depth + 1)
                return (value or "") if given else text
            case "+":
                text = self._text(reference.text, depth + 1)
                return text if given else value or ""
            case "?":
                text = self._text(reference.text, depth + 1)
                if not given:
                    raise Missing(reference.name, text)
                return value or ""
        if value is None:
            self._unset(reference.name)
        return value or ""


def parts(text: str) -> Iterator[str | Reference]:
    """Plain texts and variables, in order. Raises BadTemplate."""
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        if dollar > at:
            yield text[at:dollar]
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            yield "$"
            at = dollar + 2
        elif following == "{":
            end = _end(text, dollar + 1)
            yield _braced(text, text[dollar + 2 : end] if end >= 0 else "")
            at = end + 1
        elif (name := _NAME.match(text, dollar + 1)) is not None:
            yield Reference(name[0])
            at = name.end()
        else:
            yield "$"
            at = dollar + 1
    if at < len(text):
        yield text[at:]


def _end(text: str, opening: int) -> int:
    """Of the brace that closes the one at `opening`; -1 without one."""
    depth = 0
    for at in range(opening, len(text)):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


def _braced(whole: str, inner: str) -> Reference:
    name = _NAME.match(inner)
    if name is None:
        raise BadTemplate(whole)
    rest = inner[name.end() :]
    if not rest:
        return Reference(name[0])
    operator = next((each for each in OPERATORS if rest.startswith(each)), None)
    if operator is None:
        raise BadTemplate(whole)
    return Reference(name[0], operator, rest[len(operator) :])


def references(text: str) -> Iterator[Reference]:
    """All variables of a text, those in defaults among them; none of a text that is no template."""
    waiting = [text]
    while waiting:
        try:
            found = [part for part in parts(waiting.pop()) if isinstance(part, Reference)]
        except BadTemplate:
            continue
        yield from found
        waiting += [part.text for part in found if part.text]
