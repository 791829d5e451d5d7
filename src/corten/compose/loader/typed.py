"""A checked tree in its long form becomes a Project."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.environment import CONTENT
from corten.compose.loader.fields import FIELDS, FREE
from corten.compose.loader.rules import Rules
from corten.compose.loader.walk import changed
from corten.compose.model import Bytes, Duration, FileMode, Project

T = TypeVar("T")


def project_of(tree: Tree) -> Project:
    """The tree is used up. Raises ComposeError with the path."""
    tree.pop("name", None)
    for section in ("services", "networks", "volumes", "secrets", "configs", "models"):
        entries = tree.get(section)
        if not isinstance(entries, dict):
            tree.pop(section, None)
            continue
        for key, each in entries.items():
            entry: Tree = each if isinstance(each, dict) else {}
            if section == "services":
                entry["name"] = key
            if section == "secrets" and CONTENT in entry:
                entry["content"] = entry[CONTENT]
            entries[key] = {name: value for name, value in entry.items() if value is not None}
    changed(tree, FIELDS, deeper=True)
    _gather(tree, FREE)
    try:
        return msgspec.convert(tree, Project, strict=False, dec_hook=_number)
    except msgspec.ValidationError as error:
        raise _wrong(error) from None


def _number(kind: type[T], value: Any) -> T:
    make: Callable[[Any], T] = kind
    if kind not in (Bytes, Duration, FileMode):
        raise NotImplementedError(f"{kind}")
    return value if isinstance(value, kind) else make(value)


def _wrong(error: msgspec.ValidationError) -> ComposeError:
    what, _, where = str(error).partition(" - at `$")
    path = where.rstrip("`").strip(".").replace("[...]", "").replace("[", ".").replace("]", "")
    return ComposeError(f"{path}: {what[:1].lower()}{what[1:]}", path=path)


def _gather(tree: Tree, free: Rules[bool]) -> None:
    """Put the keys that begin with x- below "extensions", but not where keys are names."""
    if not free.found:
        extra: Tree = {key: tree.pop(key) for key in [key for key in tree if key.startswith("x-")]}
        if extra:
            tree["extensions"] = extra
    for key, value in tree.items():
        if key != "extensions" or free.found:
            _gather_value(value, free.step(key))


def _gather_value(value: Value, free: Rules[bool]) -> None:
    if isinstance(value, dict):
        _gather(value, free)
    elif isinstance(value, list):
        for each in value:
            _gather_value(each, free.step("*"))
