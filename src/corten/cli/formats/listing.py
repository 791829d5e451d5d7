"""Rows to text: the default table, `table TEMPLATE`, `TEMPLATE`, or `json`, one row after the other."""

from __future__ import annotations

from corten.cli.columns import align
from corten.cli.output import draw, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Field = Callable[["Row"], Any]
    from corten.client.api import Json


class Shape:
    """A kind of row: its Go type's name (for messages), its fields, and their column headers.

    `methods` are fields that take arguments in a template, such as `.Label "x"`.
    """

    __slots__ = ("fields", "headers", "methods", "name")

    def __init__(
        self,
        name: str,
        fields: dict[str, Field],
        headers: dict[str, str],
        methods: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.name = name
        self.fields = fields
        self.headers = headers
        self.methods = methods or {}


class Row:
    """One object as the daemon describes it, seen through a shape. `full`: do not shorten."""

    __slots__ = ("data", "extra", "full", "shape")

    def __init__(self, shape: Shape, data: Json, full: bool = False, extra: Json | None = None) -> None:
        self.shape = shape
        self.data = data
        self.full = full
        self.extra = extra or {}

    def __getitem__(self, field: str) -> Any:
        return self.shape.fields[field](self)

    @property
    def go_type(self) -> str:
        return f"*formatter.{self.shape.name}"

    def go_field(self, name: str) -> Any:
        """A field for a template; a method is a function of its arguments. Raises KeyError when there is none."""
        if name in self.shape.methods:
            method = self.shape.methods[name]
            return lambda *arguments: method(self, *arguments)
        return self[name]

    def go_json(self) -> Json:
        return {name: self[name] for name in sorted(self.shape.fields)}


class Headers:
    """The head of a table as a template sees it: every field is its column's header."""

    __slots__ = ("shape",)

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    @property
    def go_type(self) -> str:
        return f"*formatter.{self.shape.name}"

    def go_field(self, name: str) -> Any:
        if name in self.shape.methods:
            return lambda key: key.split(".")[-1].replace("-", " ").replace("_", " ")
        return self.shape.headers[name]

    def go_json(self) -> Json:
        return dict(self.shape.headers)


def show(shape: Shape, rows: Iterable[Row], template: str, columns: Sequence[str], quiet: str = "") -> None:
    """Print rows. `template` is --format's text; empty or "table" is the table of `columns`; `quiet` one field only."""
    text = render(shape, rows, template, columns, quiet)
    if text:
        (draw if _is_template(template) else out)(text)


def _is_template(template: str) -> bool:
    """Rather than the name of a form; its values are made `visible` where they are put in."""
    return template.strip() not in ("", "table", "raw", "json")


def render(shape: Shape, rows: Iterable[Row], template: str, columns: Sequence[str], quiet: str = "") -> str:
    kind = template.strip()
    if quiet and kind in ("", "table", "raw"):
        return "\n".join(str(row[quiet]) for row in rows)
    if kind in ("", "table"):
        lines = [[shape.headers[name] for name in columns]]
        lines += [[str(row[name]) for name in columns] for row in rows]
        return align("\n".join("\t".join(line) for line in lines))
    from corten.cli.gotemplate import documents

    if kind == "json":
        return "\n".join(documents.to_json(row) for row in rows)
    return documents.rows(template, list(rows), Headers(shape))


def mentions(template: str, field: str) -> bool:
    """Whether a template may use a field that costs the daemon something to compute."""
    return f".{field}" in template or "json .}" in template.replace(" }", "}")


def check_filter(text: str) -> str:
    """Raises ValueError unless it is name=value, or empty."""
    if text and "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    return text


def parse_filters(specs: Iterable[str]) -> dict[str, list[str]]:
    """--filter name=value, repeated, as name -> values."""
    wanted: dict[str, list[str]] = {}
    for spec in specs:
        name, equals, value = spec.partition("=")
        if equals:
            wanted.setdefault(name.strip().lower(), []).append(value.strip())
    return wanted


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which x9 comes before x10."""
    key = []
    digits = ""
    for char in name + "\0":
        if char.isascii() and char.isdigit():
            digits += char
            continue
        if digits:
            key.append((0, int(digits), ""))
            digits = ""
        key.append((1, 0, char))
    return key


def ellipsis(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def short_id(identity: str) -> str:
    """Twelve characters, without the digest's algorithm."""
    return identity.partition(":")[2][:12] if ":" in identity else identity[:12]
