"""The keys of a request's objects in the spelling of Docker's Go structures: Go's decoder reads them in any case.

A key that is spelled as it should be costs one look into a set; most bodies hold no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from corten.engine.validate import schema
from corten.spec.go_types import Items, Record, Table, Type
from corten.spec.image_config import CONFIG

Json = dict[str, Any]
Correct: TypeAlias = Callable[[Any], Any]


class Spelling:
    """One structure's fields, and what to do with the values of those that hold structures themselves."""

    __slots__ = ("_fields", "_folded", "_inner")

    def __init__(self, record: Record) -> None:
        self._fields = frozenset(record.fields)
        self._folded = {name.lower(): name for name in record.fields}
        self._inner = {name: found for name, field in record.fields.items() if (found := _correction(field))}

    def correct(self, value: Any) -> Any:
        """`value` with its keys respelled, all the way down; what is no object stays as it is, for others to refuse."""
        if not isinstance(value, dict):
            return value
        found = value if self._fields.issuperset(value) else self._respelled(value)
        for name, inner in self._inner.items():
            if found.get(name):
                found[name] = inner(found[name])
        return found

    def _respelled(self, value: Json) -> Json:
        """In the order of the text: the last of two spellings counts, and null counts as not sent. Objects are
        filled by both, as Go fills a structure."""
        found: Json = {}
        for key, element in value.items():
            name = key if key in self._fields else self._folded.get(key.lower(), key)
            before = found.get(name)
            if isinstance(before, dict) and isinstance(element, dict):
                found[name] = {**before, **element}
            elif before is None or element is not None:
                found[name] = element
        return found


def _correction(kind: Type) -> Correct | None:
    """None for a type without structures in it."""
    match kind:
        case Record(fields=fields):
            return Spelling(kind).correct if fields else None
        case Items(element=element):
            return _each_item(_correction(element))
        case Table(element=element):
            return _each_value(_correction(element))
        case _:
            return None


def _each_item(inner: Correct | None) -> Correct | None:
    return inner and (lambda value: list(map(inner, value)) if isinstance(value, list) else value)


def _each_value(inner: Correct | None) -> Correct | None:
    return inner and (lambda value: {k: inner(e) for k, e in value.items()} if isinstance(value, dict) else value)


CREATE, UPDATE, IMAGE_CONFIG = Spelling(schema.CREATE), Spelling(schema.UPDATE), Spelling(CONFIG)
EXEC, EXEC_START = Spelling(schema.EXEC), Spelling(schema.EXEC_START)
NETWORK, CONNECT, DISCONNECT = Spelling(schema.NETWORK), Spelling(schema.CONNECT), Spelling(schema.DISCONNECT)
VOLUME, AUTH = Spelling(schema.VOLUME), Spelling(schema.AUTH)
