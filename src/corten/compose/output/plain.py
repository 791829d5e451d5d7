"""A project as trees whose keys have the order and the spelling in which they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from corten.compose.model import (
    Bytes,
    Config,
    Duration,
    EnvFile,
    FileMode,
    Hook,
    Project,
    Secret,
    Service,
    SshKey,
    Struct,
    ThrottleDevice,
    Ulimit,
    WeightDevice,
)
from corten.compose.output.ordered import Sorted, by_nature

#: Fields that are 32 bits wide in Compose: 0.1 is printed as 0.1 there, and so are numbers nearby.
_FLOATS = frozenset(("cpus", "cpu_percent", "max_failure_ratio"))


class Float32(float):
    """Printed with as many digits as tell it from its neighbours of 32 bits."""


def yaml_tree(value: Any) -> Any:
    """Of a project or a part of it, for `yaml`."""
    return _Printer(json=False).value(value)


def json_tree(value: Any) -> Any:
    """For `json.indented` and `json.compact`."""
    return _Printer(json=True).value(value)


class _Printer:
    def __init__(self, json: bool) -> None:
        self._json = json

    def value(self, value: Any) -> Any:
        match value:
            case Bytes() | Duration() | FileMode():
                return str(value)
            case Project():
                return self._project(value)
            case Struct():
                return self._special(value)
            case Mapping():
                return Sorted({key: self.value(each) for key, each in value.items()})
            case tuple() | list():
                return [self.value(each) for each in value]
            case _:
                return value

    def _project(self, project: Project) -> Any:
        found = self._struct(project)
        if not self._json:
            return found
        found.pop("models", None)
        extensions = {key: self.value(each) for key, each in project.extensions.items()}
        return Sorted({**found, **extensions, "name": project.name})

    def _special(self, value: Struct) -> Any:
        match value:
            case Ulimit():
                if value.single:
                    return value.single
                if self._json:
                    return self._struct(value)
                return {"soft": value.soft, "hard": value.hard}
            case SshKey():
                if not value.path:
                    return value.id
                # Docker Compose fails to write this one in JSON; it can be read again in this form.
                return f"{value.id}={value.path}" if self._json else f"{value.id}: {value.path}"
            case EnvFile():
                if value.required:
                    return value.path
                more = {"format": value.format} if value.format and self._json else {}
                return {"path": value.path, "required": False, **more}
            case Secret():
                return self._struct(msgspec.structs.replace(value, content=""))
            case Config():
                shown = msgspec.structs.replace(value, content="") if value.environment else value
                return self._struct(shown)
            case WeightDevice() | ThrottleDevice() if self._json:
                return {key.capitalize(): each for key, each in self._struct(value).items()}
            case _:
                return self._struct(value)

    def _struct(self, value: Struct) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, default in _fields(type(value)):
            given = getattr(value, name)
            if name == "extensions" or name in value.hidden:
                continue
            if self._shown(value, name, given, default):
                found[name] = self._hosts(given) if name == "extra_hosts" else self._field(name, given)
        if not self._json:
            found.update({key: self.value(value.extensions[key]) for key in by_nature(list(value.extensions))})
        return found

    def _shown(self, value: Struct, name: str, given: Any, default: Any) -> bool:
        if name in value.always:
            return True
        if self._json and (name in value.embedded or (name in ("command", "entrypoint") and _runs(value))):
            return True
        if given is None or (isinstance(given, str | tuple | Mapping) and not given):
            return name in ("command", "entrypoint") and given is not None and not self._json
        if isinstance(given, bool):
            return given or default is None
        if isinstance(given, int | float):
            return bool(given) or default is None
        return not (isinstance(given, Struct) and given == default)

    def _field(self, name: str, given: Any) -> Any:
        return Float32(given) if name in _FLOATS and isinstance(given, float) else self.value(given)

    def _hosts(self, hosts: Mapping[str, tuple[str, ...]]) -> list[str]:
        return sorted(f"{name}={address}" for name, addresses in hosts.items() for address in addresses)


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, Any], ...]:
    """Names and defaults. (msgspec's own list of them evaluates every annotation anew.)"""
    return tuple(zip(kind.__struct_fields__, kind.__struct_defaults__, strict=True))


def _runs(value: Struct) -> bool:
    return isinstance(value, Service | Hook)
