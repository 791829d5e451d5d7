"""Each structure as a table of `go_types`, from its annotations.

An annotation is a name, `list[T]` or `dict[str, T]`, each also with `| None`. Names are `str`, `bool`, `int`, those of
`_NAMED` (`gotypes` has them for mypy), and the structures of this package: their modules import one another for mypy
only, because the command line imports no more of them than a request has.
"""

from __future__ import annotations

from corten.spec.docker import (
    auth,
    config,
    create,
    devices,
    exec,
    host_config,
    machine,
    mount,
    networking,
    secrets,
    volume,
)
from corten.spec.docker.struct import Struct
from corten.spec.go_types import (
    BOOL,
    DURATION,
    EMPTY,
    INT,
    INT64,
    STRING,
    UINT16,
    UINT32,
    UINT64,
    WORDS,
    Items,
    Number,
    Plain,
    Record,
    Table,
    Type,
)

_NAMED: dict[str, Type] = {
    "str": STRING,
    "bool": BOOL,
    "int": INT,
    "Int64": INT64,
    "Uint16": UINT16,
    "Uint64": UINT64,
    "FileMode": UINT32,
    "Duration": DURATION,
    "ConsoleSize": Items(Number("uint", 0, 2**64 - 1), "[2]uint", length=2),
    "StrSlice": WORDS,
    "PortSet": Table(EMPTY, "nat.PortSet"),
    "PathSet": Table(EMPTY, "map[string]struct {}"),
    "MountType": Plain("mount.Type"),
    "Propagation": Plain("mount.Propagation"),
    **{
        name: Plain(f"container.{name}")
        for name in "NetworkMode CgroupnsMode CgroupSpec IpcMode PidMode UTSMode UsernsMode Isolation".split()
    },
}
#: Maps that Docker names, by what they hold.
_TABLES = {"map[string][]nat.PortBinding": "nat.PortMap"}


_STRUCTS: dict[str, type[Struct]] = {
    name: value
    for module in (auth, config, create, devices, exec, host_config, machine, mount, networking, secrets, volume)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Struct)
}
_RECORDS: dict[type[Struct], Record] = {}


def record_of(struct: type[Struct]) -> Record:
    """The table of a structure's keys and types."""
    if struct not in _RECORDS:
        fields = {field.key: _parse(struct.TYPES[name]) for name, field in struct.FIELDS.items()}
        _RECORDS[struct] = Record(struct.NAME, struct.GO, fields, struct)
    return _RECORDS[struct]


def _parse(text: str) -> Type:
    text = text.removesuffix(" | None")
    if text.startswith("list["):
        element = _parse(text[5:-1])
        return Items(element, "[]" + _in_container(element))
    if text.startswith("dict[str, "):
        element = _parse(text[10:-1])
        go = f"map[string]{_in_container(element)}"
        return Table(element, _TABLES.get(go, go))
    return _NAMED[text] if text in _NAMED else record_of(_STRUCTS[text])


def _in_container(element: Type) -> str:
    pointer = isinstance(element, Record) and element.struct is not None and element.struct.POINTER
    return f"*{element.go}" if pointer else element.go
