"""Protocol buffers' wire format for messages that are declared as dataclasses, each field with its number:

    @dataclass(slots=True)
    class Ref(Message):
        id: Annotated[str, 1] = ""
        parents: Annotated[list[str], 2] = field(default_factory=list)
        labels: Annotated[dict[str, str], 3] = field(default_factory=dict)
        time: Annotated[Timestamp | None, 4] = None

    Ref.decode(data).encode()

str, bytes, int (64 bits, signed, as varint), bool, messages, lists of them, and dicts from str. Lists of int are read
packed or not, and written one by one, which every reader takes. Fields that are not
declared are skipped; zero values are not written. What is decoded is any bytes of anyone: bounded in depth and in the
number of values, and refused with Invalid.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from corten.errors import Invalid

M = TypeVar("M", bound="Message")
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_DEPTH = 32
_VALUES = 100_000  # in one message and those in it
_BITS = 1 << 64


class Message:
    """Base of those that are declared."""

    __slots__ = ()

    @classmethod
    def decode(cls: type[M], data: bytes) -> M:
        """Raises Invalid."""
        return _decode(cls, data, _DEPTH, [_VALUES])

    def encode(self) -> bytes:
        out: list[bytes] = []
        for each in _table(type(self)).values():
            value = getattr(self, each.name)
            if value or isinstance(value, Message):
                _write(out, each, value)
        return b"".join(out)


@dataclass(frozen=True, slots=True)
class Field:
    """`kind` is str, bytes, int, bool or a message; `many` a list of those, `keyed` a dict from str. `head` is what is
    written before a value."""

    name: str
    number: int
    kind: type[Any]
    many: bool
    keyed: bool
    head: bytes


_tables: dict[type[Message], dict[int, Field]] = {}


def _table(cls: type[Message]) -> dict[int, Field]:
    if cls not in _tables:
        _tables[cls] = _declared(cls)
    return _tables[cls]


def _declared(cls: type[Message]) -> dict[int, Field]:
    hints = typing.get_type_hints(cls, vars(sys.modules[cls.__module__]), include_extras=True)
    table = {}
    for each in fields(cls):  # type: ignore[arg-type]  # every message is a dataclass
        kind, number = typing.get_args(hints[each.name])[:2]
        many, keyed = typing.get_origin(kind) is list, typing.get_origin(kind) is dict
        if many or keyed:
            kind = typing.get_args(kind)[-1]
        elif isinstance(kind, types.UnionType):
            kind = typing.get_args(kind)[0]
        numeric = issubclass(kind, int) and not keyed
        table[number] = Field(each.name, number, kind, many, keyed, _head(number, VARINT if numeric else BYTES))
    return table


# ------------------------------------------------------------------------------------------------------------ decoding


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and the place behind it. Raises Invalid for one that ends too late, or is above 64 bits."""
    value = shift = 0
    try:
        while (byte := data[at]) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            at += 1
            if shift > 63:
                raise Invalid("a protobuf message has a number of more than 10 bytes")
        value |= byte << shift
    except IndexError:
        raise Invalid("a protobuf message ends in a number") from None
    if value >= _BITS:
        raise Invalid("a protobuf message has a number above 64 bits")
    return value, at + 1


def parts(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Field number, wire type and value: a number, or bytes. Raises Invalid."""
    at, size = 0, len(data)
    while at < size:
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise Invalid(f"a protobuf message has a field of the number {number}")
        if wire == VARINT:
            value, at = varint(data, at)
            yield number, wire, value
            continue
        if wire == BYTES:
            count, at = varint(data, at)
        elif wire in (FIXED64, FIXED32):
            count = 8 if wire == FIXED64 else 4
        else:
            raise Invalid(f"a protobuf message has a field of the type {wire}")
        if count > size - at:
            raise Invalid("a protobuf message ends in a field")
        yield number, wire, data[at : at + count]
        at += count


def _decode(cls: type[M], data: bytes, depth: int, left: list[int]) -> M:
    if not depth:
        raise Invalid(f"a protobuf message has more than {_DEPTH} messages in one another")
    table, found = _table(cls), cls()
    for number, wire, value in parts(data):
        _count(left)
        field = table.get(number)
        if field is None:
            continue
        if field.keyed:
            key, value = _entry(field, wire, value, depth, left)
            getattr(found, field.name)[key] = value
        elif field.many and wire == BYTES and field.kind is int:
            getattr(found, field.name).extend(_packed(value, left))
        elif field.many:
            getattr(found, field.name).append(_value(field, wire, value, depth, left))
        else:
            setattr(found, field.name, _value(field, wire, value, depth, left))
    return found


def _packed(data: bytes, left: list[int]) -> Iterator[int]:
    """Numbers of a list in one field, as proto3 writes them."""
    at = 0
    while at < len(data):
        _count(left)
        value, at = varint(data, at)
        yield value - _BITS if value >> 63 else value


def _count(left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise Invalid(f"a protobuf message has more than {_VALUES} values")


def _entry(field: Field, wire: int, data: Any, depth: int, left: list[int]) -> tuple[str, Any]:
    if wire != BYTES:
        raise _wrong(field)
    key, value = "", field.kind()
    for number, inner, part in parts(data):
        _count(left)
        if number == 1:
            key = _text(field, inner, part)
        elif number == 2:
            value = _value(field, inner, part, depth, left)
    return key, value


def _value(field: Field, wire: int, value: Any, depth: int, left: list[int]) -> Any:
    kind = field.kind
    if kind is int or kind is bool:
        if wire != VARINT:
            raise _wrong(field)
        return bool(value) if kind is bool else value - _BITS if value >> 63 else value
    if kind is str:
        return _text(field, wire, value)
    if wire != BYTES:
        raise _wrong(field)
    return value if kind is bytes else _decode(kind, value, depth - 1, left)


def _text(field: Field, wire: int, value: Any) -> str:
    if wire != BYTES:
        raise _wrong(field)
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"the field {field.name} of a protobuf message is not UTF-8") from None


def _wrong(field: Field) -> Invalid:
    return Invalid(f"the field {field.name} of a protobuf message has another type")


# ------------------------------------------------------------------------------------------------------------ encoding


_SHORT = tuple(bytes((value,)) for value in range(0x80))
_KEY, _VALUE, _NUMBER = b"\x0a", b"\x12", b"\x10"  # heads of the two fields of a dict's entry


def number(value: int) -> bytes:
    """A varint."""
    if 0 <= value < 0x80:
        return _SHORT[value]
    value %= _BITS
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _head(at: int, wire: int) -> bytes:
    return number(at << 3 | wire)


def _write(out: list[bytes], field: Field, value: Any) -> None:
    if field.keyed:
        for key, each in value.items():
            name, entry = _data(key), [_KEY]
            entry += (number(len(name)), name)
            _one(entry, _NUMBER if isinstance(each, int) else _VALUE, each)
            out += (field.head, number(sum(map(len, entry))), *entry)
    elif field.many:
        for each in value:
            _one(out, field.head, each)
    else:
        _one(out, field.head, value)


def _one(out: list[bytes], head: bytes, value: Any) -> None:
    if isinstance(value, int):
        out += (head, number(value))
    else:
        data = _data(value)
        out += (head, number(len(data)), data)


def _data(value: str | bytes | Message) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")  # names of files may be any bytes; a message's texts are UTF-8
    return value.encode() if isinstance(value, Message) else value
