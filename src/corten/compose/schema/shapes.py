"""What a value may be."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given holds. `types` are JSON schema's: object, array, string, integer, number, boolean, null.

    `named` are keys by name; `patterned` keys by expression, of which `extended` adds ^x-; with `closed` there are no
    others. `choices` are shapes of which exactly one fits.
    """

    types: tuple[str, ...] = ()
    named: Mapping[str, Shape] = {}
    patterned: tuple[tuple[re.Pattern[str], Shape], ...] = ()
    extended: bool = False
    closed: bool = False
    required: tuple[str, ...] = ()
    items: Shape | None = None
    unique: bool = False
    values: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    least: int | None = None
    most: int | None = None
    choices: tuple[Shape, ...] = ()


def scalar(*types: str, **more: object) -> Shape:
    return msgspec.structs.replace(Shape(types=types), **more)


def choice(*shapes: Shape) -> Shape:
    return Shape(choices=shapes)


def array(items: Shape, unique: bool = False) -> Shape:
    return Shape(types=("array",), items=items, unique=unique)


def mapping(named: Mapping[str, Shape], *required: str, extended: bool = True, null: bool = False) -> Shape:
    """With these keys and, unless `extended` is false, those that begin with x-."""
    types = ("object", "null") if null else ("object",)
    return Shape(types=types, named=named, extended=extended, closed=True, required=required)


def table(value: Shape, keys: str = "^.+$", closed: bool = False) -> Shape:
    """With any keys that fit the expression; with `closed` no others."""
    return Shape(types=("object",), patterned=((re.compile(keys), value),), closed=closed)


STRING = scalar("string")
INTEGER = scalar("integer")
INTEGER_TEXT = scalar("integer", "string")
NUMBER_TEXT = scalar("number", "string")
BOOLEAN = scalar("boolean")
BOOLEAN_TEXT = scalar("boolean", "string")
NULL = scalar("null")
STRINGS = array(STRING)
STRING_SET = array(STRING, unique=True)
STRING_OR_LIST = choice(STRING, STRING_SET)
PAIRS = choice(table(scalar("string", "number", "boolean", "null"), ".+", closed=True), STRING_SET)
OPTIONS = table(scalar("string", "number"))
COMMAND = choice(NULL, STRING, STRINGS)
EXTRA_HOSTS = choice(table(choice(STRING, STRINGS), ".+", closed=True), STRING_SET)
FILE_REFERENCES = array(
    choice(
        STRING,
        mapping({"source": STRING, "target": STRING, "uid": STRING, "gid": STRING, "mode": NUMBER_TEXT}),
    )
)
ULIMITS = table(
    choice(INTEGER_TEXT, mapping({"hard": INTEGER_TEXT, "soft": INTEGER_TEXT}, "soft", "hard")),
    "^[a-z]+$",
)
HOOK = mapping(
    {
        "command": COMMAND,
        "image": STRING,
        "user": STRING,
        "privileged": BOOLEAN_TEXT,
        "working_dir": STRING,
        "environment": PAIRS,
        "per_replica": BOOLEAN_TEXT,
    },
    "command",
)
KEYS = "^[a-zA-Z0-9._-]+$"
