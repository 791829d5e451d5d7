"""Template text to tokens.

Outside of {{ }} everything is TEXT. `{{- ` trims the white space before it, ` -}}` the white space after it, and
`{{/* */}}` is a comment. Inside, blanks are tokens too: `.a .b` and `.a.b` differ.
"""

from __future__ import annotations

import re

from corten.cli.gotemplate.errors import ParseError

TEXT, LEFT, RIGHT, SPACE, KEYWORD, BOOL, NIL = ("text", "left", "right", "space", "keyword", "bool", "nil")
FIELD, VARIABLE, IDENTIFIER, STRING, NUMBER, CHAR = ("field", "variable", "identifier", "string", "number", "char")
DOT = "dot"
PIPE, OPEN, CLOSE, DECLARE, ASSIGN, COMMA, END = ["|", "(", ")", ":=", "=", ",", "end-of-file"]

KEYWORDS = frozenset(["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"])
BLANKS = " \t\r\n"

# Longest alternatives first; a number may start with a sign, a character constant is a rune.
ACTION = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<char>'(?:[^'\\\n]|\\.[^']*)')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?))
    | (?P<field>\.[^\W\d]\w*)
    | (?P<dot>\.)
    | (?P<variable>\$\w*)
    | (?P<identifier>[^\W\d]\w*)
    | (?P<declare>:=)
    | (?P<symbol>[|()=,])
    """,
    re.VERBOSE,
)


class Token:
    __slots__ = ("at", "kind", "text")

    def __init__(self, kind: str, text: str, at: int) -> None:
        self.kind = kind
        self.text = text
        self.at = at


def line_of(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1


def tokens(source: str, name: str = "") -> list[Token]:
    """All tokens, ending with END. Raises ParseError."""
    found: list[Token] = []
    at = 0
    trim = False
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        if trim:
            text = text.lstrip(BLANKS)
        if start < 0:
            _add_text(found, text, at)
            found.append(Token(END, "", len(source)))
            return found
        inside = start + 2
        if source.startswith("-", inside) and source[inside + 1 : inside + 2] in tuple(BLANKS):
            text = text.rstrip(BLANKS)
            inside += 1
        _add_text(found, text, at)
        comment = source[inside:].lstrip(BLANKS) if source[inside - 1] == "-" else source[inside:]
        if comment.startswith("/*"):
            at, trim = _skip_comment(source, name, start, source.index("/*", inside))
        else:
            at, trim = _lex_action(source, name, start, inside, found)


def _add_text(found: list[Token], text: str, at: int) -> None:
    if text:
        found.append(Token(TEXT, text, at))


def _skip_comment(source: str, name: str, start: int, opening: int) -> tuple[int, bool]:
    end = source.find("*/", opening + 2)
    if end < 0:
        raise ParseError(f"template: {name}:{line_of(source, start)}: unclosed comment")
    rest = source[end + 2 :]
    trimmed = re.match(r"[ \t\r\n]+-\}\}", rest)
    if trimmed:
        return end + 2 + trimmed.end(), True
    if not rest.startswith("}}"):
        raise ParseError(f"template: {name}:{line_of(source, start)}: comment ends before closing delimiter")
    return end + 4, False


def _lex_action(source: str, name: str, start: int, at: int, found: list[Token]) -> tuple[int, bool]:
    """Lex from behind {{ up to }}; (where to go on, whether to trim what follows)."""
    found.append(Token(LEFT, "{{", start))
    depth = 0
    while True:
        closing = re.compile(r"[ \t\r\n]+-\}\}|\}\}").match(source, at)
        if closing:
            if depth:
                raise ParseError(f"template: {name}:{line_of(source, at)}: unclosed left paren")
            found.append(Token(RIGHT, "}}", at))
            return closing.end(), closing.group() != "}}"
        if at >= len(source):
            raise ParseError(f"template: {name}:{line_of(source, start)}: unclosed action")
        match = ACTION.match(source, at)
        if match is None:
            raise ParseError(f"template: {name}:{line_of(source, at)}: {_complaint(source, at)}")
        token = _token(match, at)
        depth += (token.kind == OPEN) - (token.kind == CLOSE)
        if depth < 0:
            raise ParseError(f"template: {name}:{line_of(source, at)}: unexpected right paren")
        found.append(token)
        at = match.end()


def _token(match: re.Match[str], at: int) -> Token:
    kind, text = str(match.lastgroup), match.group()
    if kind == "identifier":
        if text in KEYWORDS:
            kind = KEYWORD
        elif text in ("true", "false"):
            kind = BOOL
        elif text == "nil":
            kind = NIL
    elif kind == "declare":
        kind = DECLARE
    elif kind == "symbol":
        kind = text
    return Token(kind, text, at)


def _complaint(source: str, at: int) -> str:
    char = source[at]
    if char == '"':
        return "unterminated quoted string"
    if char == "`":
        return "unterminated raw quoted string"
    if char == "'":
        return "unterminated character constant"
    return (
        f"unexpected {char!r} in command"
        if char in "}{"
        else f"unrecognized character in action: U+{ord(char):04X} {char!r}"
    )
