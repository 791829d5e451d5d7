"""Go's types as the annotations of `Struct`s name them: for mypy aliases of Python's, for `records` tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Int64: TypeAlias = int
Uint16: TypeAlias = int
Uint64: TypeAlias = int
FileMode: TypeAlias = int
Duration: TypeAlias = int
ConsoleSize: TypeAlias = Sequence[int]
StrSlice: TypeAlias = list[str]
PortSet: TypeAlias = dict[str, dict[str, object]]
PathSet: TypeAlias = dict[str, dict[str, object]]
MountType: TypeAlias = str
Propagation: TypeAlias = str
NetworkMode: TypeAlias = str
CgroupnsMode: TypeAlias = str
CgroupSpec: TypeAlias = str
IpcMode: TypeAlias = str
PidMode: TypeAlias = str
UTSMode: TypeAlias = str
UsernsMode: TypeAlias = str
Isolation: TypeAlias = str
