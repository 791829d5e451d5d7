"""A file's content as plain values."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from corten.compose.model import Position

Value: TypeAlias = "dict[str, Value] | list[Value] | str | int | float | bool | None"
Tree: TypeAlias = "dict[str, Value]"
#: By path; lists count from 0: "services.web.ports.0".
Positions: TypeAlias = dict[str, Position]


class Document(msgspec.Struct, frozen=True):
    """One YAML document of a file."""

    value: Value
    positions: Positions
    resets: tuple[tuple[str, ...], ...] = ()
    """Paths of mappings' keys that had !reset or !override: what earlier files say there is removed."""
