"""The base of Docker's structures: frozen values that read as Go's zero values where nothing was set.

    class RestartPolicy(Struct, go="container.RestartPolicy"):
        name: str = ""
        maximum_retry_count: int = 0

    RestartPolicy(name="always").to_json() == {"Name": "always", "MaximumRetryCount": 0}

A field is one line: its name, its Go type as an annotation (`gotypes` lists them), its zero value. Its key in JSON is
the name in PascalCase; `field` says what is otherwise: the key, Go's omitempty, the API versions that know it. An
instance holds only what was set, the class holds the zero values: `to_json` has all fields, `given_json` those that
were set. `decode` reads the annotations; nothing here does.

The command line imports this module: it needs neither `typing` nor `dataclasses` nor `re`, and a class computes nothing
of its fields until `FIELDS` is asked for, which a client never does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Never, Self, TypeAlias, dataclass_transform

    Version: TypeAlias = tuple[int, int]
else:

    def dataclass_transform(**_):
        return lambda cls: cls


#: As a value it leaves a field as if it had not been named: Config(user=flags.text("user") or UNSET).
UNSET: Never = object()  # type: ignore[assignment]


_SCALARS = frozenset((str, int, bool, float, type(None)))


class Field:
    """What is known of one field beside its Python name and its annotation. As an attribute it is the zero value."""

    __slots__ = ("key", "omitempty", "since", "until", "zero")

    def __init__(
        self, zero: Any, key: str, omitempty: bool | Version, since: Version | None = None, until: Version | None = None
    ) -> None:
        self.zero = zero
        self.key = key
        self.omitempty = omitempty
        self.since = since
        self.until = until

    def __get__(self, _instance: object, _owner: type) -> Any:
        return self.zero

    def known(self, version: Version | None) -> bool:
        """Whether an API version has the field; None stands for the newest, and for records on disk."""
        if version is None:
            return True
        return (self.since is None or version >= self.since) and (self.until is None or version < self.until)

    def omits(self, version: Version | None) -> bool:
        """Whether Go's omitempty holds for it in an API version."""
        since = self.omitempty
        return version is None or version >= since if isinstance(since, tuple) else since

    def empty(self, value: object) -> bool:
        """What Go's omitempty leaves out: zero values, and empty lists and maps; a pointer to a zero value is none."""
        return value == self.zero or value in ([], {})


class _UnsetJson:
    """What `to_json` shows of a structure of which no field was set.

    shown   key to zero value, UNSET for what is omitted, in Docker's order: all keys that the version has
    nested  attribute and key of the zero values that are structures, lists or maps, which are made anew each time
    omits   keys of the fields that can be omitted
    """

    __slots__ = ("nested", "omits", "shown")

    def __init__(self, fields: dict[str, Field], version: Version | None) -> None:
        known = {attribute: field for attribute, field in fields.items() if field.known(version)}
        self.shown = {field.key: UNSET if field.omits(version) else field.zero for field in known.values()}
        self.nested = [
            (attribute, field.key)
            for attribute, field in known.items()
            if not field.omits(version) and type(field.zero) not in _SCALARS
        ]
        self.omits = {field.key for field in known.values() if field.omits(version)}


def field(
    *,
    default: Any,
    key: str = "",
    omitempty: bool | Version = False,
    since: Version | None = None,
    until: Version | None = None,
) -> Any:
    """A field that is not regular: `since` is the first API version that has it, `until` the first that has not;
    `omitempty` can be the first in which Go has it."""
    return Field(default, key, omitempty, since, until)


class _Fields:
    """Stands for `FIELDS` until it is asked for, and puts the table itself in its place."""

    __slots__ = ()

    def __get__(self, _instance: Struct | None, owner: type[Struct]) -> dict[str, Field]:
        owner.FIELDS = {name: _field(owner, name) for name in owner.TYPES}
        return owner.FIELDS


_FIELDS: Any = _Fields()


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Struct:
    """`go` is the Go type that messages name, `pointer` whether lists and maps of Docker's hold pointers to it."""

    FIELDS: ClassVar[dict[str, Field]] = {}  # by name, in the order in which Docker prints them
    TYPES: ClassVar[dict[str, str]] = {}  # the annotation of each field
    GO: ClassVar[str] = ""
    NAME: ClassVar[str] = ""
    POINTER: ClassVar[bool] = False
    _KEYS: ClassVar[dict[str, str]] = {}
    _UNSET_JSON: ClassVar[dict[Version | None, _UnsetJson]] = {}

    def __init_subclass__(cls, go: str = "", name: str = "", pointer: bool = False) -> None:
        cls.GO, cls.POINTER = go, pointer
        cls.NAME = name or go.rpartition(".")[2]
        embedded = {name: type for base in cls.__bases__ for name, type in vars(base).get("TYPES", {}).items()}
        cls.TYPES = {**cls.__annotations__, **embedded}  # Go prints embedded structures behind
        cls.FIELDS = _FIELDS
        cls._KEYS, cls._UNSET_JSON = {}, {}

    def __init__(self, **values: Any) -> None:
        if not self.TYPES.keys() >= values.keys():
            unknown = ", ".join(sorted(values.keys() - self.TYPES.keys()))
            raise TypeError(f"{type(self).__name__} has no {unknown}")
        self.__dict__.update({name: value for name, value in values.items() if value is not UNSET})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use replace({name}=...)")

    def replace(self, **changes: Any) -> Self:
        """A copy with other values for some fields. Raises TypeError for an unknown field."""
        return type(self)(**{**self.__dict__, **changes})

    def over(self, other: Self) -> Self:
        """A copy that has the values of `other` where this one has none."""
        return type(self)(**{**other.__dict__, **self.__dict__})

    def to_json(self, version: Version | None = None) -> dict[str, Any]:
        """What Docker prints of it, as `version` of the API has it: a new dict of JSON's types all the way down."""

        def show(struct: Struct) -> dict[str, Any]:
            return struct.to_json(version)

        unset = self._UNSET_JSON.get(version) or self._unset_json(version)
        values, fields, omits = self.__dict__, self.FIELDS, unset.omits
        shown = unset.shown.copy()
        for attribute, key in unset.nested:
            if attribute not in values:
                shown[key] = _plain(fields[attribute].zero, show)
        for attribute, value in values.items():
            field = fields[attribute]
            key = field.key
            if key in shown and not (key in omits and field.empty(value)):
                shown[key] = value if type(value) in _SCALARS else _plain(value, show)
        for key in omits:
            if shown[key] is UNSET:
                del shown[key]
        return shown

    @classmethod
    def _unset_json(cls, version: Version | None) -> _UnsetJson:
        """Computed once for each version: a structure has some fields of its own and many more that were not set."""
        found = cls._UNSET_JSON[version] = _UnsetJson(cls.FIELDS, version)
        return found

    def given_json(self) -> dict[str, Any]:
        """What a client sends of it: only the fields that were set, zero values among them, all the way down."""
        keys = self._KEYS
        return {
            keys.get(name) or self._key_of(name): value if type(value) in _SCALARS else _plain(value, Struct.given_json)
            for name, value in self.__dict__.items()
        }

    @classmethod
    def _key_of(cls, name: str) -> str:
        """Of a field in JSON. Looked up once: it needs no `FIELDS`."""
        found = cls._KEYS[name] = _key(cls._line(name), name)
        return found

    @classmethod
    def _line(cls, name: str) -> Any:
        """What stands behind an annotation: a Field, or the zero value of a regular one."""
        for base in cls.__mro__:
            if name in base.__dict__:
                return base.__dict__[name]
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, a) == getattr(other, a) for a in self.TYPES)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def _key(line: Any, name: str) -> str:
    key: str = line.key if isinstance(line, Field) else ""
    return key or name.title().replace("_", "")


def _field(cls: type[Struct], name: str) -> Field:
    line = cls._line(name)
    if not isinstance(line, Field):
        return Field(line, _key(line, name), False)
    return Field(line.zero, _key(line, name), line.omitempty, line.since, line.until)


def _plain(value: Any, show: Callable[[Struct], dict[str, Any]]) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Struct):
        return show(value)
    if isinstance(value, (list, tuple)):
        return [each if type(each) in _SCALARS else _plain(each, show) for each in value]
    if isinstance(value, dict):
        return {key: each if type(each) in _SCALARS else _plain(each, show) for key, each in value.items()}
    return value
