"""What all parts of a project are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec


class Struct(msgspec.Struct, frozen=True, kw_only=True, dict=False):
    """One mapping of a file. Its attributes are the keys, in the order in which they are printed.

    `always`: keys that are printed also when they have their default. `hidden`: attributes that are no keys.
    `embedded`: keys of mappings that JSON prints even when they are empty.
    """

    always: ClassVar[frozenset[str]] = frozenset()
    hidden: ClassVar[frozenset[str]] = frozenset()
    embedded: ClassVar[frozenset[str]] = frozenset()

    extensions: Mapping[str, Any] = {}
    """Keys that begin with x-, as they were given."""
