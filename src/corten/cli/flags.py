"""Command-line flags with the behaviour of pflag, which Docker's command line uses.

    --name value   --name=value   --rm   --rm=false   -it   -p80:80   -p 80:80   -p=80:80   --

A command lists its flags as `flag(...)` lines; `parse` gives `Flags`: values by name, and which were
given. Flags stop at the first word that is none when `interspersed` is false (run, create, exec).
"""

from __future__ import annotations

from corten.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


class HelpWanted(Exception):
    """--help was given. `deprecated` when it was spelled -h."""

    def __init__(self, deprecated: bool = False) -> None:
        super().__init__()
        self.deprecated = deprecated


class Kind:
    """A type of value: its name in the help, its zero, how a text becomes one, and whether it gathers into a list."""

    __slots__ = ("convert", "many", "name", "word", "zero")

    def __init__(
        self, name: str, zero: Any, convert: Callable[[str], Any], many: bool = False, word: str | None = None
    ) -> None:
        self.name = name
        self.zero = zero
        self.convert = convert
        self.many = many
        # The value when the flag stands alone, without "=": only for booleans.
        self.word = word


class Flag:
    __slots__ = ("default", "hidden", "kind", "name", "short", "usage")

    def __init__(self, name: str, kind: Kind, usage: str, short: str, default: Any, hidden: bool) -> None:
        self.name = name
        self.kind = kind
        self.usage = usage
        self.short = short
        self.default = default
        self.hidden = hidden

    @property
    def spelling(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def flag(name: str, kind: Kind, usage: str, short: str = "", default: Any = None, hidden: bool = False) -> Flag:
    return Flag(name, kind, usage, short, kind.zero if default is None else default, hidden)


def _integer(function: str, low: int, high: int) -> Callable[[str], int]:
    """Go's ParseInt or ParseUint with base 0 (0x, 0o, 0b and leading-zero octal) and a range."""

    def convert(text: str) -> int:
        try:
            digits = text.lstrip("+-")
            octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            value = int(text, 8) if octal else int(text, 0)
        except ValueError:
            raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
        if not low <= value <= high:
            reason = "invalid syntax" if low == 0 and value < 0 else "value out of range"
            raise ValueError(f'strconv.{function}: parsing "{text}": {reason}')
        return value

    return convert


ALONE = "true"


def _boolean(text: str) -> bool:
    if text == ALONE:
        return True
    from corten.units.booleans import parse_bool

    return parse_bool(text)


def _same(text: str) -> str:
    return text


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None


def lazy(name: str, zero: Any, module: str, function: str, many: bool = False) -> Kind:
    """A kind whose parser lives in a module that is imported only when such a flag is given."""

    def convert(text: str) -> Any:
        found = __import__(f"corten.{module}", fromlist=[function])
        return getattr(found, function)(text)

    return Kind(name, zero, convert, many)


INT64 = 1 << 63
BOOL = Kind("", False, _boolean, word=ALONE)
STRING = Kind("string", "", _same)
INT = Kind("int", 0, _integer("ParseInt", -INT64, INT64 - 1))
UINT16 = Kind("uint16", 0, _integer("ParseUint", 0, 65535))
UINT64 = Kind("uint", 0, _integer("ParseUint", 0, 2 * INT64 - 1))
FLOAT = Kind("float", 0.0, _float)
LIST = Kind("list", (), _same, many=True)
FILTER = lazy("filter", (), "cli.formats.listing", "check_filter", many=True)
BYTES = lazy("bytes", 0, "units.sizes", "parse_bytes")
DURATION = lazy("duration", 0, "units.durations", "parse_duration")
MAP = lazy("map", (), "cli.options.texts", "parse_pair", many=True)
ENV = lazy("list", (), "cli.options.texts", "parse_env", many=True)
LABEL = lazy("list", (), "cli.options.texts", "parse_label", many=True)
ADDRESS = lazy("list", (), "cli.options.texts", "parse_address", many=True)
LINK = lazy("list", (), "cli.options.texts", "parse_link", many=True)


def pairs(values: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE texts as a dict; a bare NAME has the empty value, the last of two equal names wins."""
    return {name: value for name, _, value in (text.partition("=") for text in values)}


class Flags:
    """Parsed flags: values by name, typed by the asker, and the words that were none."""

    __slots__ = ("_values", "given", "words")

    def __init__(self, values: dict[str, Any], given: set[str], words: list[str]) -> None:
        self._values = values
        self.given = given
        self.words = words

    def on(self, name: str) -> bool:
        return bool(self._values[name])

    def text(self, name: str) -> str:
        value: str = self._values[name]
        return value

    def number(self, name: str) -> int:
        value: int = self._values[name]
        return value

    def many(self, name: str) -> list[str]:
        return list(self._values[name])

    def pairs(self, name: str) -> dict[str, str]:
        return pairs(self._values[name])

    def value(self, name: str) -> Any:
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        """Whether the user gave this flag."""
        return name in self.given


def parse(known: Sequence[Flag], words: Sequence[str], interspersed: bool = True) -> Flags:
    """Parse a command's words.

    Raises UsageError with pflag's message, HelpWanted for --help, and for -h where no flag has that letter.
    """
    return _Parser(known, interspersed).parse(list(words))


class _Parser:
    def __init__(self, known: Sequence[Flag], interspersed: bool) -> None:
        self._long = {one.name: one for one in known}
        self._short = {one.short: one for one in known if one.short}
        self._interspersed = interspersed
        self._values = {one.name: [*one.default] if one.kind.many else one.default for one in known}
        self._given: set[str] = set()

    def parse(self, words: list[str]) -> Flags:
        positional = []
        while words:
            word = words.pop(0)
            if word == "--":
                positional += words
                break
            if not word.startswith("-") or word == "-":
                positional.append(word)
                if not self._interspersed:
                    positional += words
                    break
            elif word.startswith("--"):
                self._take_long(word, words)
            else:
                self._take_shorts(word, words)
        return Flags(self._values, self._given, positional)

    def _take_long(self, word: str, words: list[str]) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        found = self._long.get(name)
        if found is None:
            if name == "help":
                raise HelpWanted
            raise UsageError(f"unknown flag: --{name}")
        if not equals:
            if found.kind.word is not None:
                value = found.kind.word
            elif words:
                value = words.pop(0)
            else:
                raise UsageError(f"flag needs an argument: --{name}")
        self._set(found, value)

    def _take_shorts(self, word: str, words: list[str]) -> None:
        letters = word[1:]
        while letters:
            letter, rest = letters[0], letters[1:]
            found = self._short.get(letter)
            if found is None:
                if letter == "h":
                    raise HelpWanted(deprecated=True)
                raise UsageError(f"unknown shorthand flag: '{letter}' in -{letters}")
            if len(rest) > 1 and rest[0] == "=":
                self._set(found, rest[1:])
                return
            if found.kind.word is not None:
                self._set(found, found.kind.word)
                letters = rest
                continue
            if rest:
                self._set(found, rest)
            elif words:
                self._set(found, words.pop(0))
            else:
                raise UsageError(f"flag needs an argument: '{letter}' in -{letters}")
            return

    def _set(self, found: Flag, text: str) -> None:
        try:
            value = found.kind.convert(text)
        except ValueError as error:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            raise UsageError(f'invalid argument "{quoted}" for "{found.spelling}" flag: {error}') from None
        if found.kind.many:
            self._values[found.name].append(value)
        else:
            self._values[found.name] = value
        self._given.add(found.name)
