"""Lists whose entries have a key: of two with the same one the later takes the place of the earlier."""

from __future__ import annotations

from collections.abc import Callable

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.rules import Rules
from corten.compose.loader.shortvolumes import parse_volume
from corten.compose.loader.texts import printed

Key = Callable[[Value, str], str]


def without_doubles(tree: Tree) -> Tree:
    """The tree, whose lists are changed. Raises ComposeError with the path."""
    _visit(tree, "", KEYS)
    return tree


def _visit(tree: Tree, path: str, rules: Rules[Key]) -> None:
    for key, value in tree.items():
        below = rules.step(key)
        if below.empty:
            continue
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            _visit(value, here, below)
        elif isinstance(value, list) and below.found is not None:
            tree[key] = _unique(value, here, below.found)


def _unique(entries: list[Value], path: str, key: Key) -> list[Value]:
    places: dict[str, int] = {}
    found: list[Value] = []
    for at, entry in enumerate(entries):
        try:
            name = key(entry, f"{path}.[{at}]")
        except ComposeError as error:
            error.path = f"{path}.{at}"
            raise
        if name in places:
            found[places[name]] = entry
        else:
            places[name] = len(found)
            found.append(entry)
    return found


def _pair(value: Value, path: str) -> str:
    if isinstance(value, str):
        return value.partition("=")[0]
    raise ComposeError(f"{path}: unexpected type {_type(value)}")


def _text(value: Value, path: str) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise ComposeError(f"{path}: unsupported expose value {printed(value)}")


def _volume(value: Value, path: str) -> str:
    if isinstance(value, dict):
        target = value.get("target")
        if not isinstance(target, str):
            raise ComposeError(f"service volume {path} is missing a mount target")
        return target
    if isinstance(value, str):
        try:
            return printed(parse_volume(value).get("target"))
        except ValueError as error:
            raise ComposeError(str(error)) from None
    return ""


def _device(value: Value, path: str) -> str:
    if isinstance(value, dict):
        target = value.get("target")
        if not isinstance(target, str):
            raise ComposeError(f"service device {path} is missing a mount target")
        return target
    return (value.split(":")[1] if ":" in value else value) if isinstance(value, str) else ""


def _mount(directory: str) -> Key:
    def key(value: Value, path: str) -> str:
        if isinstance(value, str):
            return f"{directory}/{value}"
        if isinstance(value, dict):
            return printed(value["target"]) if "target" in value else f"{directory}/{printed(value.get('source'))}"
        raise ComposeError(f"{path}: unsupported expose value {printed(value)}")

    return key


def _port(value: Value, path: str) -> str:
    if isinstance(value, dict):
        if "target" not in value:
            raise ComposeError(f"service ports {path} is missing a target port")
        host, protocol = value.get("host_ip", "0.0.0.0"), value.get("protocol", "tcp")
        return f"{printed(host)}:{printed(value.get('published'))}:{printed(value['target'])}/{printed(protocol)}"
    return printed(value) if isinstance(value, int | str) else ""


def _env_file(value: Value, path: str) -> str:
    if isinstance(value, dict):
        if "path" not in value:
            raise ComposeError(f"environment path attribute {path} is missing")
        return printed(value["path"])
    return value if isinstance(value, str) else ""


def _type(value: Value) -> str:
    """As Go calls it."""
    names = {bool: "bool", int: "int", float: "float64", dict: "map[string]interface {}", list: "[]interface {}"}
    return names.get(type(value), "<nil>")


_PAIRS = (
    "annotations build.args build.additional_contexts build.platform build.tags build.labels cap_add cap_drop"
    " deploy.labels dns dns_opt dns_search environment labels links networks.*.aliases networks.*.link_local_ips"
    " profiles sysctls tmpfs"
).split()

KEYS: Rules[Key] = Rules(
    {
        **{f"services.*.{path}": _pair for path in _PAIRS},
        "networks.*.labels": _pair,
        "networks.*.ipam.options": _pair,
        "services.*.devices": _device,
        "services.*.configs": _mount(""),
        "services.*.env_file": _env_file,
        "services.*.expose": _text,
        "services.*.ports": _port,
        "services.*.secrets": _mount("/run/secrets"),
        "services.*.volumes": _volume,
    }
)
