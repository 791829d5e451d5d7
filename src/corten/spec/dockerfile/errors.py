"""What is wrong with a Dockerfile: `Invalid` with its lines, and how that is shown."""

from __future__ import annotations

from collections.abc import Sequence

from corten.errors import Invalid
from corten.spec.dockerfile.span import Span

_RULE = "-" * 20
_TAB = 4  # columns that a tab is shown as


class DockerfileError(Invalid):
    """The message is BuildKit's. `span` is the instruction's; `word` what of it is meant ("" is all of it)."""

    def __init__(self, message: str, span: Span, word: str = "") -> None:
        super().__init__(message)
        self.span = span
        self.word = word

    @property
    def line(self) -> int:
        return self.span.line

    @property
    def column(self) -> int:
        return self.span.column

    @property
    def end(self) -> int:
        return self.span.end


def boxed(lines: Sequence[str], span: Span, filename: str = "Dockerfile") -> str:
    """The lines of a span, marked, and what is around them, as buildx shows them. "" for a span that is in no line."""
    if not 1 <= span.line <= len(lines):
        return ""
    first, last = _around(span.line, min(max(span.line, span.end), len(lines)), len(lines))
    out = [f"{filename}:{span.line}", _RULE]
    for number in range(first, last + 1):
        mark = ">>>" if span.line <= number <= max(span.line, span.end) else "   "
        out.append(f" {number:3} | {mark} {lines[number - 1]}")
    return "\n".join([*out, _RULE, ""])


def _around(first: int, last: int, count: int) -> tuple[int, int]:
    padding, added = (4 if first == last else 2), 0
    while added < padding:
        if first > 1:
            first, added = first - 1, added + 1
        if last != count:
            last, added = last + 1, added + 1
        added += 1
    return first, last


def pointed(lines: Sequence[str], error: DockerfileError, filename: str = "Dockerfile") -> str:
    """The line of an error with a caret below the word that is meant, for a command line:

    Dockerfile:2:5: unknown flag: --form (did you mean from?)
        2 | COPY --form=a b c
          |      ^~~~~~
    """
    number, column, length = _place(lines, error)
    head = f"{filename}:{number}:{column}: {error}"
    if not 1 <= number <= len(lines):
        return head + "\n"
    text = lines[number - 1]
    before = text[: column - 1].expandtabs(_TAB)
    pointer = " " * len(before) + "^" + "~" * (len(text[column - 1 : column - 1 + length].expandtabs(_TAB)) - 1)
    return f"{head}\n {number:4} | {text.expandtabs(_TAB)}\n      | {pointer}\n"


def _place(lines: Sequence[str], error: DockerfileError) -> tuple[int, int, int]:
    """Line, column and length of the word, of the whole line when there is none or it is not found."""
    span = error.span
    for number in range(span.line, min(span.end, len(lines)) + 1) if error.word else ():
        at = lines[number - 1].find(error.word)
        if at >= 0:
            return number, at + 1, len(error.word)
    rest = lines[span.line - 1][span.column - 1 :] if 1 <= span.line <= len(lines) else ""
    return span.line, span.column, max(1, len(rest.rstrip()))
