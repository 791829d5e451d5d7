"""What the commands call: templates for rows, and for one document."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.errors import CommandError
from corten.cli.gotemplate import functions, parser
from corten.cli.gotemplate.errors import ExecError, ParseError
from corten.cli.gotemplate.evaluate import Template
from corten.cli.gotemplate.printing import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

TABLE = "table"
# A header stays as it is where its column's values are changed.
HEADER_FUNCTIONS = dict.fromkeys(("json", "lower", "title", "truncate", "upper"), lambda value, *_: value)

__all__ = ["compile_", "one", "rows", "to_json"]


def compile_(source: str, strict: bool = False) -> Template:
    """The template of a text. Raises ParseError for a bad one."""
    return Template(parser.parse(source, functions.NAMES), source, strict=strict)


def rows(source: str, data: Iterable[Any], headers: Any) -> str:
    """One line per datum; with "table " in front, below a line of headers and in columns.

    Raises CommandError for a bad template.
    """
    table = source.startswith(TABLE)
    text = source[len(TABLE) :].strip(" ") if table else source
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = compile_(text)
    except ParseError as error:
        raise CommandError(f"failed to parse template: {error}") from None
    try:
        lines = [template.execute(headers, HEADER_FUNCTIONS)] if table else []
        lines += [template.execute(datum) for datum in data]
    except ExecError as error:
        raise CommandError(f"failed to execute template: {error}") from None
    if not table:
        return "\n".join(lines)
    return align("\n".join(lines))


def one(source: str, datum: Any) -> str:
    """The text for one document (info, version, events). `json` stands for {{json .}}.

    Raises CommandError for a bad template.
    """
    text = "{{json .}}" if source.strip() == "json" else source
    try:
        template = compile_(text)
    except ParseError as error:
        raise CommandError(f"template parsing error: {error}", 64) from None
    try:
        return template.execute(datum)
    except ExecError as error:
        raise CommandError(f"template parsing error: {error}") from None
