r"""Files of variables: .env, env_file, label_file.

    NAME=value # comment       a value without quotes: trimmed, ends before " #", interpolated
    NAME='literal'             as it is, over several lines too; \' is '
    NAME="a\tb $OTHER"         \a \b \c \f \n \r \t \v \\ \" \$ and \0NNN (octal), interpolated
    export NAME=value          the same as without export
    NAME: value                the same as with =
    NAME                       the value of the environment, or nothing

A name has letters, digits, _ . - [ ]. `format: raw` (docker run's --env-file) knows comments and bare names only.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from corten.compose.errors import ComposeError
from corten.compose.model import Position
from corten.compose.variables.template import LONGEST, BadTemplate, Interpolation, Lookup, Missing

Warn = Callable[[str], object]

SIZE = 4 << 20  # bytes
COUNT = 50_000
WARNINGS = 100

_ESCAPE = re.compile(r'\\(?:[abcfnrtv$"\\]|0\d{0,3})')
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_BLANKS = "\t\v\f\r \x85\xa0"  # not the line's end
_EXPORT = re.compile(rf"export[\s{_BLANKS}]+")


def parse(
    data: bytes,
    name: str,
    lookup: Lookup,
    variables: dict[str, str] | None = None,
    warn: Warn = lambda text: None,
) -> dict[str, str]:
    """Of a file that is called `name` in messages; `variables` are those of files before, which are completed.

    `lookup` goes before the file's own variables when values are interpolated; `warn` gets a line for each
    name that is not set. Raises ComposeError with the line.
    """
    return _Parser(_text(data, name), name, lookup, {} if variables is None else variables, warn).parse()


def parse_raw(data: bytes, name: str, lookup: Lookup, variables: dict[str, str] | None = None) -> dict[str, str]:
    """The same of `format: raw`: nothing is unquoted or interpolated."""
    found = {} if variables is None else variables
    for number, line in enumerate(_text(data, name).split("\n"), 1):
        stripped = line.lstrip().removesuffix("\r")
        if not stripped or stripped.startswith("#"):
            continue
        key, given, value = stripped.partition("=")
        if not key or key != key.strip() or any(blank in key for blank in " \t"):
            said = f"failed to parse env_file {name}: variable '{key[:60]}' contains whitespaces"
            if not key.strip():
                said = f"failed to parse env_file {name}: no variable name on line '{stripped[:60]}'"
            raise ComposeError(said, Position(name, number))
        if given:
            found[key] = value
        elif (inherited := lookup(key)) is not None:
            found[key] = inherited
    return found


def _text(data: bytes, name: str) -> str:
    if len(data) > SIZE:
        raise ComposeError(f"failed to read {name}: larger than {SIZE} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = Position(name, data.count(b"\n", 0, error.start) + 1)
        raise ComposeError(f"failed to read {name}: not UTF-8", at, "save the file as UTF-8") from None


class _Parser:
    def __init__(self, text: str, name: str, lookup: Lookup, variables: dict[str, str], warn: Warn) -> None:
        self._text = text
        self._at = 0
        self._name = name
        self._lookup = lookup
        self._variables = variables
        self._interpolation = Interpolation(self._known, self._unset)
        self._warn = warn
        self._said: set[str] = set()
        self._counted = (0, 1)  # where lines were counted to, and which line that is
        self._statement = 0  # where the one begins that is read now

    def _unset(self, name: str) -> None:
        if name in self._said or len(self._said) >= WARNINGS:
            return
        self._said.add(name)
        at = Position(self._name, self._line_number(self._statement))
        self._warn(f'{at}: The "{name}" variable is not set. Defaulting to a blank string.')

    def _known(self, name: str) -> str | None:
        found = self._lookup(name)
        return found if found is not None else self._variables.get(name)

    def parse(self) -> dict[str, str]:
        length = 0
        while self._begin():
            start = self._statement = self._at
            key, inherited = self._key()
            if " " in key:
                raise self._wrong("key cannot contain a space", start)
            if inherited:
                value = self._lookup(key)
            else:
                value = self._value()
            if value is not None:
                self._variables[key] = value
                length += len(value)
            if length > LONGEST:
                raise self._wrong(f"values are longer than {LONGEST} characters together", start)
            if len(self._variables) > COUNT:
                raise self._wrong(f"more than {COUNT} variables", start)
        return self._variables

    def _begin(self) -> bool:
        """Go to the next statement; False at the end."""
        text, end = self._text, len(self._text)
        while self._at < end:
            if text[self._at].isspace():
                self._at += 1
            elif text[self._at] == "#":
                line = text.find("\n", self._at)
                self._at = end if line < 0 else line
            else:
                return True
        return False

    def _key(self) -> tuple[str, bool]:
        """The name, and whether it stands alone."""
        if (export := _EXPORT.match(self._text, self._at)) is not None:
            self._at = export.end()
        start = self._at
        for at in range(start, len(self._text)):
            character = self._text[at]
            if character in "=:\n":
                self._at = at + 1
                self._skip()
                return self._text[start:at].rstrip(), character == "\n"
            if character in _BLANKS or character in "_.-[]" or character.isalpha() or character.isnumeric():
                continue
            line = self._text[start:].split("\n", 1)[0]
            raise self._wrong(
                f"unexpected character {_quoted(character)} in variable name {_quoted(line[:200])}", start
            )
        if start >= len(self._text):
            raise ComposeError(f"failed to read {self._name}: zero length string")
        self._at = len(self._text)
        return self._text[start:].rstrip(), True

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _BLANKS:
            self._at += 1

    def _value(self) -> str:
        start = self._at
        quote = self._text[start : start + 1]
        if quote in ("'", '"') and quote:
            value = self._quoted(quote)
            return self._interpolated(_unescaped(value), start) if quote == '"' else value
        line = self._line(start)
        self._at = min(start + len(line) + 1, len(self._text))
        return self._interpolated(line.split(" #", 1)[0].rstrip(), start)

    def _line(self, start: int) -> str:
        end = self._text.find("\n", start)
        return self._text[start:] if end < 0 else self._text[start:end]

    def _quoted(self, quote: str) -> str:
        """The text within quotes; a backslash before the quote is taken away, others stay."""
        found: list[str] = []
        at = self._at + 1
        while at < len(self._text):
            character = self._text[at]
            if character == "\\" and at + 1 < len(self._text):
                following = self._text[at + 1]
                found.append(following if following == quote else character + following)
                at += 2
                continue
            if character == quote:
                self._at = at + 1
                return "".join(found)
            found.append(character)
            at += 1
        raise self._wrong(f"unterminated quoted value {self._line(self._at)[:200]}", self._at)

    def _interpolated(self, text: str, start: int) -> str:
        try:
            return self._interpolation.text(text)
        except BadTemplate as error:
            at = Position(self._name, self._line_number(start))
            raise ComposeError(f'failed to read {self._name}: Invalid template: "{error.text}"', at) from None
        except Missing as error:
            at = Position(self._name, self._line_number(start))
            raise ComposeError(f"failed to read {self._name}: {error}", at) from None

    def _line_number(self, at: int) -> int:
        before, line = self._counted if self._counted[0] <= at else (0, 1)
        self._counted = (at, line + self._text.count("\n", before, at))
        return self._counted[1]

    def _wrong(self, what: str, at: int) -> ComposeError:
        number = self._line_number(at)
        return ComposeError(f"failed to read {self._name}: line {number}: {what}", Position(self._name, number))


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    letter = match[0][1]
    if letter == "$":
        return "$$"
    if letter == "0":
        digits = match[0][2:]
        octal = len(digits) == 3 and digits < "400" and not set(digits) - set("01234567")
        return chr(int(digits, 8)) if octal else match[0]
    return _ESCAPES.get(letter, match[0])
