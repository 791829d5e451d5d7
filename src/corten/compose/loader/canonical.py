"""Short forms to long ones: after this every port, volume, device, secret, network and dependency is a mapping."""

from __future__ import annotations

from collections.abc import Callable

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.rules import Rules
from corten.compose.loader.shortports import parse_port
from corten.compose.loader.shortvolumes import parse_volume
from corten.compose.loader.texts import printed
from corten.compose.loader.walk import Change, changed

Warn = Callable[[str, str], None]

PORTS = 70_000  # of a service: all of one protocol, and some


def canonical(tree: Tree, warn: Warn, tolerant: bool = False) -> Tree:
    """The tree, changed. `tolerant` leaves what cannot be read as it is: texts are not interpolated.

    Raises ComposeError with the path.
    """
    long = _Long(warn, tolerant)
    changed(tree, _table(long), deeper=True)
    return tree


class _Long:
    def __init__(self, warn: Warn, tolerant: bool) -> None:
        self._warn = warn
        self._tolerant = tolerant

    def ports(self, value: Value, path: str) -> Value:
        if not isinstance(value, list):
            raise ComposeError(f"{path}: invalid type for port", path=path)
        found: list[Value] = []
        for at, each in enumerate(value):
            if isinstance(each, dict):
                found.append(each)
                continue
            try:
                found += parse_port(printed(each))
            except ValueError as error:
                if self._tolerant:
                    return value
                raise ComposeError(str(error), path=f"{path}.{at}") from None
            if len(found) > PORTS:
                raise ComposeError(f"{path}: more than {PORTS} ports", path=f"{path}.{at}")
        return found

    def volume(self, value: Value, path: str) -> Value:
        if not isinstance(value, str):
            return value
        try:
            return parse_volume(value)
        except ValueError as error:
            if self._tolerant:
                return value
            raise ComposeError(str(error), path=path) from None

    def device(self, value: Value, path: str) -> Value:
        if not isinstance(value, str):
            return value
        fields = value.split(":")
        if len(fields) > 3:
            if self._tolerant:
                return {"source": "", "target": "", "permissions": "rwm"}
            raise ComposeError(f"confusing device mapping, please use long syntax: {value}", path=path)
        target = fields[1] if len(fields) > 1 else ""
        permissions = fields[2] if len(fields) > 2 else "rwm"
        return {"source": fields[0], "target": target or fields[0], "permissions": permissions}

    def pairs(self, value: Value, path: str) -> Value:
        if not isinstance(value, list):
            return value
        found: Tree = {}
        for each in value:
            key, given, text = printed(each).partition("=")
            if not given:
                if self._tolerant:
                    return value
                raise ComposeError(f"{path}: invalid value {printed(each)}, expected key=value", path=path)
            found[key] = text
        return found

    def external(self, value: Value, path: str) -> Value:
        if not isinstance(value, dict) or not isinstance(value.get("external"), dict):
            return value
        external = value["external"]
        assert isinstance(external, dict)
        value["external"] = True
        if "name" in external:
            self._warn(f"{path}: external.name is deprecated. Please set name and external: true", path)
            if "name" in value and value["name"] != external["name"]:
                raise ComposeError(f"{path}: name and external.name conflict; only use name", path=path)
            value["name"] = external["name"]
        return value


def _build(value: Value, path: str) -> Value:
    return {"context": value} if isinstance(value, str) else value


def _text(value: Value, path: str) -> Value:
    return printed(value)


def _strings(value: Value, path: str) -> Value:
    return [value] if isinstance(value, str) else value


def _named(key: str) -> Change:
    def change(value: Value, path: str) -> Value:
        return {key: value} if isinstance(value, str) else value

    return change


def _keys(value: Value, path: str) -> Value:
    return dict.fromkeys(printed(each) for each in value) if isinstance(value, list) else value


def _depends_on(value: Value, path: str) -> Value:
    if isinstance(value, list):
        return {printed(each): {"condition": "service_started", "required": True} for each in value}
    for key, each in value.items() if isinstance(value, dict) else ():
        if not isinstance(each, dict):
            raise ComposeError(f"{path}.{key}: unsupported value {printed(each)}", path=f"{path}.{key}")
        each.setdefault("condition", "service_started")
        each.setdefault("required", True)
    return value


def _env_file(value: Value, path: str) -> Value:
    entries = value if isinstance(value, list) else [value]
    return [
        {"required": True, **each} if isinstance(each, dict) else {"path": each, "required": True} for each in entries
    ]


def _gpus(value: Value, path: str) -> Value:
    return [{"count": "all"}] if isinstance(value, str) else value


def _ssh(value: Value, path: str) -> Value:
    if not isinstance(value, list):
        return value
    found: Tree = {}
    for each in value:
        key, given, place = printed(each).partition("=")
        if not given and key != "default":
            raise ComposeError(f'invalid ssh key "{printed(each)}"', path=path, remedy="write ID=PATH, or default")
        found[key] = place if given else None
    return found


def _table(long: _Long) -> Rules[Change]:
    return Rules(
        {
            "services.*.build": _build,
            "services.*.build.secrets.*": _named("source"),
            "services.*.build.provenance": _text,
            "services.*.build.sbom": _text,
            "services.*.build.additional_contexts": long.pairs,
            "services.*.build.ssh": _ssh,
            "services.*.depends_on": _depends_on,
            "services.*.env_file": _env_file,
            "services.*.label_file": _strings,
            "services.*.extends": _named("service"),
            "services.*.gpus": _gpus,
            "services.*.networks": _keys,
            "services.*.models": _keys,
            "services.*.volumes.*": long.volume,
            "services.*.dns": _strings,
            "services.*.devices.*": long.device,
            "services.*.secrets.*": _named("source"),
            "services.*.configs.*": _named("source"),
            "services.*.ports": long.ports,
            "services.*.develop.watch.*.ignore": _strings,
            "services.*.develop.watch.*.include": _strings,
            **{f"{section}.*": long.external for section in ("volumes", "networks", "secrets", "configs")},
            "include.*": _named("path"),
        }
    )
