"""A Dockerfile's lines: directives, comments, continued lines and heredocs.

`read` is all of it. What is an instruction's line is joined of lines that end with the escape character; comments and
empty lines among them are left out. The lines of a heredoc are kept as they are, with their line ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.instructions import Directives, Heredoc
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.texts import SPACE, unicode
from corten.spec.dockerfile.words import Rules, process_words

LONGEST_FILE = 4 << 20  # bytes
LONGEST_LINE = 65535  # bytes, without its end
MOST_INSTRUCTIONS, MOST_STAGES = 10_000, 1000

_BOM = b"\xef\xbb\xbf"
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[ \t\n\f\r]*=(.*)", re.DOTALL)
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]+)")  # blanks in front are `process_words` to leave out
_TABS = re.compile(r"^\t+", re.MULTILINE)
_WITH_HEREDOCS = ("add", "copy", "run")
_WORD = re.compile(r"""\s*(?:'[^']*'|"(?:[^"\\]|\\.)*"|<<[ \t\r]*|\\.?|[^\s'"\\])""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Line:
    """An instruction's line: `text` joined and trimmed. `empty` says that an empty line stands in its midst."""

    text: str
    span: Span
    comments: tuple[str, ...]
    empty: bool


class Reader:
    """Gives one instruction's line after the other, and on demand the heredocs that come after it."""

    def __init__(self, data: bytes) -> None:
        """Raises DockerfileError for a file or a line that is too long, and for directives."""
        if len(data) > LONGEST_FILE:
            raise DockerfileError(f"the Dockerfile is larger than {LONGEST_FILE} bytes", Span(1))
        raw = data.removeprefix(_BOM).split(b"\n")
        for number, line in enumerate(raw, 1):
            if len(line) > LONGEST_LINE:
                raise DockerfileError(f"dockerfile line greater than max allowed size of {LONGEST_LINE}", Span(number))
        # Bytes that are no UTF-8 stay themselves in heredocs: see Heredoc.data.
        self._raw = [line.decode("utf-8", "surrogateescape") for line in raw]
        self.lines = tuple(unicode(line.rstrip("\r")) for line in self._raw)
        self.directives, first = _directives(self.lines)
        self._at = first
        self._escape = self.directives.escape

    def __iter__(self) -> Iterator[Line]:
        comments: list[str] = []
        while self._at < len(self.lines):
            text = self.lines[self._at]
            stripped = text.lstrip(SPACE)
            self._at += 1
            comment = stripped[1:].strip(SPACE) if stripped.startswith("#") else ""
            if comment:
                comments.append(comment)
            elif not stripped or stripped.startswith("#"):
                comments = []
            else:
                line = self._joined(stripped, len(text) - len(stripped) + 1, tuple(comments))
                comments = []
                if line.text:
                    yield line

    def _joined(self, text: str, column: int, comments: tuple[str, ...]) -> Line:
        begin, empty = self._at, False
        text, continued = _continuation(text, self._escape)
        parts = [text]
        while continued and self._at < len(self.lines):
            text = self.lines[self._at]
            stripped = text.lstrip(SPACE)
            self._at += 1
            if not stripped:
                # After a line end at the very end of the file there is no line.
                empty = empty or self._at < len(self.lines)
            elif not stripped.startswith("#"):
                text, continued = _continuation(text, self._escape)
                parts.append(text)
        return Line("".join(parts).strip(SPACE), Span(begin, column, self._last(begin)), comments, empty)

    def _last(self, begin: int) -> int:
        """The number of the line that was read last; the empty one after the file's last line end is none."""
        last = self._at
        if last == len(self.lines) and last > begin and not self.lines[-1]:
            last -= 1
        return last

    def heredocs(self, line: Line) -> tuple[tuple[Heredoc, ...], Line]:
        """Those that a RUN, COPY or ADD begins, and the line with its span to their end. Raises DockerfileError."""
        found: list[Heredoc] = []
        for heredoc in heredoc_names(line.text):
            content = self._content(heredoc, line)
            text = _TABS.sub("", content) if heredoc.strip_tabs else content
            found.append(replace(heredoc, content=content, text=text))
        return tuple(found), replace(line, span=replace(line.span, end=max(line.span.end, self._last(line.span.line))))

    def _content(self, heredoc: Heredoc, line: Line) -> str:
        begin = self._at
        while self._at < len(self._raw):
            text = self._raw[self._at].rstrip("\r")
            self._at += 1
            if (text.lstrip("\t") if heredoc.strip_tabs else text) == heredoc.name:
                return "".join(part + "\n" for part in self._raw[begin : self._at - 1])
        raise DockerfileError(
            "unterminated heredoc", Span(line.span.line, line.span.column, self._last(line.span.line)), heredoc.name
        )


def _continuation(text: str, escape: str) -> tuple[str, bool]:
    """The line without the escape character at its end, and whether there was one that is not escaped itself."""
    cut = text.rstrip(" \t")
    if not cut.endswith(escape) or cut[-2:-1] == escape:
        return text, False
    return cut[:-1], True


def _directives(lines: tuple[str, ...]) -> tuple[Directives, int]:
    """Those in the first lines, and how many lines they are. After an interpreter's line (`#!`) all are comments, of
    which `syntax` and `check` are read nevertheless."""
    comments = lines[0].startswith("#!")
    found: dict[str, str] = {}
    for number, line in enumerate(lines[comments:], 1 + comments):
        name, value = _directive(line.lstrip(SPACE), "#")
        if name not in ("syntax", "escape", "check"):
            break
        if not comments:
            _check_directive(name, value, found, Span(number))
        found.setdefault(name, value)
    directives = Directives(
        syntax=found.get("syntax", "").partition(" ")[0],
        escape="\\" if comments else found.get("escape", "\\"),
        check=found.get("check", "").partition(" ")[0],
    )
    return directives, 0 if comments else len(found)


def _check_directive(name: str, value: str, found: dict[str, str], span: Span) -> None:
    if name in found:
        raise DockerfileError(f"only one {name} parser directive can be used", span)
    if name == "escape" and value not in ("\\", "`"):
        raise DockerfileError(f"invalid escape token '{value}' does not match ` or \\", span, value)


def _directive(line: str, mark: str) -> tuple[str, str]:
    """Name in lower case, and value; "" for a line that is none."""
    match = _DIRECTIVE.fullmatch(line.removeprefix(mark).lstrip(SPACE)) if line.startswith(mark) else None
    value = match[2].strip() if match else ""
    return (match[1].lower(), value) if match and value else ("", "")


def comment_directive(comment: str) -> tuple[str, str]:
    """`check=skip=X` of a comment above an instruction: ("check", "skip=X")."""
    name, value = _directive(comment, "")
    return name, value.partition(" ")[0]


def syntax(data: bytes) -> str:
    """The frontend that a file asks for: `# syntax=IMAGE`, also `// syntax=IMAGE` and JSON {"syntax": "IMAGE"}; "" for
    none. An interpreter's line before it is skipped. It may be no Dockerfile at all, so nothing is raised."""
    text = data[:LONGEST_FILE].removeprefix(_BOM).decode("utf-8", "replace")
    if text.startswith("#!"):
        text = text.partition("\n")[2]
    for mark in ("#", "//"):
        for line in text.split("\n", 20)[:20]:
            name, value = _directive(line.rstrip("\r").lstrip(SPACE), mark)
            if name == "syntax":
                return value.partition(" ")[0]
            if name not in ("escape", "check"):
                break
    return _json_syntax(text)


def _json_syntax(text: str) -> str:
    if not text.lstrip().startswith("{"):
        return ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    asked = value.get("syntax")
    return asked if isinstance(asked, str) else ""


def takes_heredocs(keyword: str) -> bool:
    return keyword.lower() in _WITH_HEREDOCS


def heredoc_names(text: str) -> list[Heredoc]:
    """The heredocs that a line begins, in their order, without content. Quotes that are not closed: none."""
    if "<<" not in text:
        return []
    return [heredoc for word in _raw_words(text) if (heredoc := heredoc_of(word)) is not None]


def _raw_words(text: str) -> list[str]:
    """Words with their quotes and backslashes. [] when a quote is not closed."""
    found: list[list[str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        piece = _WORD.match(text, at)
        if piece is None:
            return []
        if piece[0][:1].isspace() or not found:
            found.append([])
        found[-1].append(piece[0].lstrip())
        at = piece.end()
    return ["".join(pieces) for pieces in found]


def heredoc_of(word: str) -> Heredoc | None:
    """`<<NAME`, `3<<-"NAME"`; None for what is none."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    rest = match[3]
    try:
        names = process_words(rest, {}, Rules(keep_unset=True))[0]
        raw = process_words(rest, {}, Rules(keep_unset=True, quotes="kept"))[0]
    except ValueError:
        return None
    if len(names) != 1 or len(raw) != 1:
        return None
    quotes = [name.count("'") + name.count('"') for name in (names[0], raw[0])]
    return Heredoc(names[0], "", expand=quotes[0] == quotes[1], strip_tabs=match[2] == "-")
