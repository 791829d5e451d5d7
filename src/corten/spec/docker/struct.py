"""The base of Docker's structures: frozen values that read as Go's zero values where nothing was set.

    class RestartPolicy(Struct, go="container.RestartPolicy"):
        name: str = ""
        maximum_retry_count: int = 0

    RestartPolicy(name="always").to_json() == {"Name": "always", "MaximumRetryCount": 0}

A field is one line: its name, its Go type as an annotation (`gotypes` lists them), its zero value. Its key in JSON is
the name in PascalCase; `field` says what is otherwise: the key, Go's omitempty, the API versions that know it. An
instance holds only what was set, the class holds the zero values. `decode` reads the annotations; nothing here does.

The command line imports this module: it needs neither `typing` nor `dataclasses` nor `re`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, TypeAlias, dataclass_transform

    Version: TypeAlias = tuple[int, int]
else:

    def dataclass_transform(**_):
        return lambda cls: cls


class Field:
    """What is known of one field beside its Python name and its annotation."""

    __slots__ = ("key", "omitempty", "since", "until", "zero")

    def __init__(
        self, zero: Any, key: str, omitempty: bool, since: Version | None = None, until: Version | None = None
    ) -> None:
        self.zero = zero
        self.key = key
        self.omitempty = omitempty
        self.since = since
        self.until = until

    def known(self, version: Version | None) -> bool:
        """Whether an API version has the field; None stands for the newest, and for records on disk."""
        if version is None:
            return True
        return (self.since is None or version >= self.since) and (self.until is None or version < self.until)

    def omitted(self, value: object) -> bool:
        """Go's omitempty: zero values, and empty lists and maps; a pointer to a zero value is none."""
        return self.omitempty and (value == self.zero or value in ([], {}))


def field(
    *, default: Any, key: str = "", omitempty: bool = False, since: Version | None = None, until: Version | None = None
) -> Any:
    """A field that is not regular: `since` is the first API version that has it, `until` the first that has not."""
    return Field(default, key, omitempty, since, until)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Struct:
    """`go` is the Go type that messages name, `pointer` whether lists and maps of Docker's hold pointers to it."""

    FIELDS: ClassVar[dict[str, Field]] = {}
    GO: ClassVar[str] = ""
    NAME: ClassVar[str] = ""
    POINTER: ClassVar[bool] = False

    def __init_subclass__(cls, go: str = "", name: str = "", pointer: bool = False) -> None:
        cls.GO, cls.POINTER = go, pointer
        cls.NAME = name or go.rpartition(".")[2]
        own = {attribute: _field(cls, attribute) for attribute in cls.__annotations__}
        cls.FIELDS = {**own, **cls.FIELDS}  # Go prints embedded structures behind

    def __init__(self, **values: Any) -> None:
        if not self.FIELDS.keys() >= values.keys():
            unknown = ", ".join(sorted(values.keys() - self.FIELDS.keys()))
            raise TypeError(f"{type(self).__name__} has no {unknown}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: use replace({name}=...)")

    def replace(self, **changes: Any) -> Self:
        """A copy with other values for some fields. Raises TypeError for an unknown field."""
        return type(self)(**{**self.__dict__, **changes})

    def to_json(self, version: Version | None = None) -> dict[str, Any]:
        """What Docker prints of it in `version` of the API: a new dict of JSON's types all the way down."""
        shown: dict[str, Any] = {}
        for attribute, field in self.FIELDS.items():
            value = getattr(self, attribute)
            if not field.omitted(value) and field.known(version):
                shown[field.key] = _plain(value, version)
        return shown

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, a) == getattr(other, a) for a in self.FIELDS)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def _field(cls: type[Struct], attribute: str) -> Field:
    """The field of one annotation; the class keeps its zero value under the name."""
    given = cls.__dict__[attribute]
    found: Field = given if isinstance(given, Field) else Field(given, "", False)
    found.key = found.key or "".join(word.capitalize() for word in attribute.split("_"))
    setattr(cls, attribute, found.zero)
    return found


def _plain(value: Any, version: Version | None) -> Any:
    if isinstance(value, Struct):
        return value.to_json(version)
    if isinstance(value, (list, tuple)):
        return [_plain(each, version) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each, version) for key, each in value.items()}
    return value
